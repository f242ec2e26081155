//! The configuration folder: `Labs.json`, `GoldenImages/**.json` and, optionally, `factory.json`.
//!
//! Everything that is wrong is found at once, each with file, line and column. A golden image that is wrong is left out of a run and said
//! to have failed; the others go on.

pub mod files;
pub mod gallery;
pub(in crate::factory) mod reader;
pub mod settings;

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::Value;

use crate::{
    factory::{
        golden_image::{self, GoldenImage},
        names::{ImagePath, image_base_name},
    },
    host::{FileError, Host},
    order,
    template::{Document, ParseError, Position},
};
use files::LabEntry;
use reader::Reader;
#[cfg(test)]
use settings::OsType;
pub use settings::{OsState, Settings};

/// The folder of the golden images, below the configuration folder.
const GOLDEN_IMAGES: &str = "GoldenImages";

/// A configuration as far as it could be read, and all that is wrong with it.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The labs that receive images, in the file's order, each once.
    pub labs: Vec<Receiver>,
    /// The golden images, ordered by path; also those that cannot be used.
    pub images: Vec<GoldenImage>,
    /// The defaults of `factory.json`.
    pub settings: Settings,
    /// What is wrong.
    pub findings: Findings,
    /// Whether `Labs.json` and `factory.json` could be read at all. Nothing can be done without.
    pub is_usable: bool,
}

/// A lab of `Labs.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// The subscription's GUID.
    pub subscription_id: String,
    /// The lab's name.
    pub lab_name: String,
    /// Its resource group, needed only where the subscription has two labs of that name.
    pub resource_group: Option<String>,
    /// The images that it gets: files, or folders standing for all below.
    pub image_paths: Vec<ImagePath>,
    /// Whether all that the file says of its images could be read. Otherwise nobody can say which of them are no longer wanted.
    pub is_complete: bool,
}

impl Receiver {
    /// Whether the lab gets this image.
    pub fn lists(&self, image: &ImagePath) -> bool {
        self.image_paths.iter().any(|listed| image.is_listed_by(listed))
    }
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// What keeps a part of the configuration from being used.
    pub errors: Vec<Finding>,
    /// What is probably not meant so.
    pub warnings: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file, relative to the configuration folder.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl Finding {
    /// A finding; the file's start stands for a place that is not known.
    pub fn new(file: &str, position: Option<Position>, message: impl Into<String>) -> Self {
        let (line, column) = position.map_or((1, 1), |position| (position.line, position.column));
        Self { file: file.to_owned(), line, column, message: message.into() }
    }
}

/// One file of the configuration folder.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path relative to the folder.
    pub path: String,
    /// Its bytes, or why they could not be read.
    pub contents: Result<Vec<u8>, FileError>,
}

/// Why there is no configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// The folder cannot be listed.
    #[error("failed to read the configuration folder '{folder}', which should hold Labs.json and GoldenImages")]
    Folder {
        /// The folder.
        folder: String,
        /// Why.
        source: FileError,
    },
}

impl Configuration {
    /// Reads a configuration folder.
    pub fn load(host: &dyn Host, folder: &str) -> Result<Self, ConfigurationError> {
        let paths = host.list_files(folder).map_err(|source| ConfigurationError::Folder { folder: folder.to_owned(), source })?;
        let wanted = paths.into_iter().filter(|path| is_json(path));
        let files = wanted.map(|path| File { contents: host.read_file(&host.join_path(folder, &path)), path });
        Ok(Self::read(files.collect()))
    }

    /// Reads the files of a configuration folder.
    pub fn read(mut files: Vec<File>) -> Self {
        order::sort(&mut files, &mut |one, other| one.path.to_ascii_lowercase().cmp(&other.path.to_ascii_lowercase()));
        let mut findings = Findings::default();
        let settings = match find(&files, "factory.json") {
            None => Some(Settings::default()),
            Some(file) => {
                parse(file, &mut findings).map(|document| files::settings(&mut Reader::new(&file.path, &document, &mut findings)))
            }
        };
        let mut images = golden_images(&files, settings.as_ref().unwrap_or(&Settings::default()), &mut findings);
        refuse_common_names(&mut images, &mut findings);
        gallery::settle(&mut images, settings.as_ref().unwrap_or(&Settings::default()), &mut findings);
        let labs = labs(&files, &images, &mut findings);
        for found in [&mut findings.errors, &mut findings.warnings] {
            order::sort(found, &mut |one, other| (&one.file, one.line, one.column).cmp(&(&other.file, other.line, other.column)));
        }
        let is_usable = labs.is_some() && settings.is_some();
        Self { labs: labs.unwrap_or_default(), images, settings: settings.unwrap_or_default(), findings, is_usable }
    }

    /// The golden image of this path.
    pub fn image(&self, path: &ImagePath) -> Option<&GoldenImage> {
        self.images.binary_search_by(|image| image.path.cmp(path)).ok().map(|index| &self.images[index])
    }
}

fn labs(all: &[File], images: &[GoldenImage], findings: &mut Findings) -> Option<Vec<Receiver>> {
    let Some(file) = find(all, "Labs.json") else {
        findings.errors.push(Finding::new("Labs.json", None, "there is no such file in the configuration folder"));
        return None;
    };
    let document = parse(file, findings)?;
    let mut reader = Reader::new(&file.path, &document, findings);
    let entries = files::labs(&mut reader)?;
    Some(receivers(entries, images, &mut reader))
}

fn is_json(path: &str) -> bool {
    path.len() > 5 && path.is_char_boundary(path.len() - 5) && path[path.len() - 5..].eq_ignore_ascii_case(".json")
}

fn find<'a>(files: &'a [File], name: &str) -> Option<&'a File> {
    files.iter().find(|file| file.path.eq_ignore_ascii_case(name))
}

fn parse(file: &File, findings: &mut Findings) -> Option<Document> {
    let finding = match &file.contents {
        Err(error) => Finding::new(&file.path, None, format!("failed to read the file: {error}")),
        Ok(bytes) => match Document::parse(bytes) {
            Ok(document) => {
                for (path, position) in document.duplicates() {
                    findings.warnings.push(Finding::new(
                        &file.path,
                        Some(*position),
                        format!("'{path}' is given twice: the last one counts"),
                    ));
                }
                return Some(document);
            }
            Err(ParseError { position, problem }) => Finding::new(&file.path, Some(position), format!("the file is not JSON: {problem}")),
        },
    };
    findings.errors.push(finding);
    None
}

fn golden_images(files: &[File], settings: &Settings, findings: &mut Findings) -> Vec<GoldenImage> {
    let mut images: BTreeMap<ImagePath, GoldenImage> = BTreeMap::new();
    for file in files {
        let Some(path) = below_golden_images(&file.path) else { continue };
        let before = findings.errors.len();
        let document = parse(file, findings);
        let mut image = GoldenImage {
            settings: settings.of_image(&path),
            path,
            file: file.path.clone(),
            os_type: None,
            fingerprint: file.contents.as_ref().map_or_else(|_| String::new(), |bytes| golden_image::fingerprint(bytes)),
            template: Arc::new(Value::Null),
            problem: None,
        };
        if let Some(document) = document {
            image.os_type = golden_image::check(&image, &mut Reader::new(&file.path, &document, findings));
            image.template = Arc::new(document.value().clone());
        }
        image.problem = findings.errors.get(before).map(|finding| finding.message.clone());
        if let Some(other) = images.get(&image.path) {
            let message = format!("'{}' and '{}' differ in case only: rename one", other.file, image.file);
            findings.errors.push(Finding::new(&file.path, None, message.clone()));
            image.problem = Some(message);
        }
        images.insert(image.path.clone(), image);
    }
    if images.is_empty() {
        findings.errors.push(Finding::new(GOLDEN_IMAGES, None, "there is no golden image: put ARM templates (.json) into this folder"));
    }
    images.into_values().collect()
}

fn below_golden_images(path: &str) -> Option<ImagePath> {
    let (folder, rest) = path.split_once('/')?;
    if folder.eq_ignore_ascii_case(GOLDEN_IMAGES) { ImagePath::parse(rest) } else { None }
}

/// Two golden images whose captured images would bear one name cannot be told apart in a lab: neither is made.
fn refuse_common_names(images: &mut [GoldenImage], findings: &mut Findings) {
    let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, image) in images.iter().enumerate() {
        by_name.entry(image_base_name(&image.path).to_ascii_lowercase()).or_default().push(index);
    }
    for indices in by_name.into_values().filter(|indices| indices.len() > 1) {
        let files = indices.iter().map(|index| format!("'{}'", images[*index].path)).collect::<Vec<_>>().join(" and ");
        for index in indices {
            let image = &mut images[index];
            let name = image_base_name(&image.path);
            let message = format!("{files} both make images named '{name}-…': an image is named by its file and the folder that it is in");
            findings.errors.push(Finding::new(&image.file, None, message.clone()));
            image.problem.get_or_insert(message);
        }
    }
}

fn receivers(entries: Vec<LabEntry>, images: &[GoldenImage], reader: &mut Reader) -> Vec<Receiver> {
    let mut labs: Vec<Receiver> = Vec::new();
    for entry in entries {
        let place = entry.place.clone();
        let Some(lab) = receiver(entry, images, reader) else { continue };
        let Some(other) = labs.iter_mut().find(|other| is_same_lab(other, &lab)) else {
            labs.push(lab);
            continue;
        };
        let message = format!(
            "lab '{}' of subscription '{}' is listed twice: write all its image paths into one entry",
            lab.lab_name, lab.subscription_id
        );
        reader.error(&place, message);
        // Left out, the second entry's images would look as if nobody wanted them any longer.
        other.image_paths.extend(lab.image_paths);
        other.is_complete &= lab.is_complete;
    }
    for image in images.iter().filter(|image| !labs.iter().any(|lab| lab.lists(&image.path))) {
        reader.warning("", format!("no lab asks for golden image '{}'", image.path));
    }
    labs
}

fn receiver(entry: LabEntry, images: &[GoldenImage], reader: &mut Reader) -> Option<Receiver> {
    let mut image_paths = Vec::new();
    let mut is_complete = entry.has_all_paths;
    for (text, place) in entry.image_paths {
        let Some(path) = ImagePath::parse(&text) else {
            is_complete = false;
            reader.error(&place, "an image path is empty: name a golden image or a folder of golden images");
            continue;
        };
        if !images.iter().any(|image| image.path.is_listed_by(&path)) {
            reader.warning(&place, format!("image path '{text}' matches no golden image"));
        }
        image_paths.push(path);
    }
    let subscription_id = entry.subscription_id?;
    if uuid::Uuid::try_parse(&subscription_id).is_err() {
        reader.error(&format!("{}.SubscriptionId", entry.place), format!("'{subscription_id}' is no subscription id, which is a GUID"));
        return None;
    }
    Some(Receiver { subscription_id, lab_name: entry.lab_name?, resource_group: entry.resource_group, image_paths, is_complete })
}

fn is_same_lab(one: &Receiver, other: &Receiver) -> bool {
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    let same_group = match (&one.resource_group, &other.resource_group) {
        (Some(one), Some(other)) => same(one, other),
        _ => true,
    };
    same(&one.subscription_id, &other.subscription_id) && same(&one.lab_name, &other.lab_name) && same_group
}

#[cfg(test)]
pub(in crate::factory) mod tests;
