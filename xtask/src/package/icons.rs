//! Icons: drawn as SVG in `icons/`, shipped as PNG.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{Options, Tree},
};

/// Renders a square SVG as a PNG of so many pixels a side.
pub fn render(svg: &Path, pixels: u16, png: &Path) -> Result<()> {
    let source = fs::read(svg).with_context(|| format!("failed to read the icon {}", svg.display()))?;
    let tree = Tree::from_data(&source, &Options::default()).with_context(|| format!("failed to understand {}", svg.display()))?;
    let mut canvas = Pixmap::new(pixels.into(), pixels.into()).context("an icon has at least one pixel")?;
    let scale = f32::from(pixels) / tree.size().width();
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut canvas.as_mut());
    canvas.save_png(png).with_context(|| format!("failed to write {}", png.display()))
}
