//! Plots of what was measured, as SVG.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use plotters::prelude::*;

const SIZE: (u32, u32) = (720, 400);
const COLOURS: [RGBColor; 4] = [RGBColor(0, 120, 212), RGBColor(209, 52, 56), RGBColor(16, 124, 65), RGBColor(135, 100, 184)];

/// Lines over a logarithmic axis.
pub struct Plot {
    name: &'static str,
    title: &'static str,
    x: &'static str,
    y: &'static str,
    lines: Vec<(String, Vec<(f64, f64)>)>,
}

impl Plot {
    /// A plot without lines, to be written as `<name>.svg`.
    pub fn new(name: &'static str, title: &'static str, x: &'static str, y: &'static str) -> Self {
        Self { name, title, x, y, lines: Vec::new() }
    }

    /// Adds a line.
    pub fn line(&mut self, name: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        self.lines.push((name.to_owned(), points.into_iter().collect()));
    }

    /// Draws it into a folder.
    pub fn draw(&self, folder: &Path) -> Result<PathBuf> {
        let file = folder.join(format!("{}.svg", self.name));
        self.draw_into(&file).map_err(|error| anyhow!("failed to draw {}: {error}", file.display()))?;
        Ok(file)
    }

    fn draw_into(&self, file: &Path) -> Result<(), Box<dyn std::error::Error + '_>> {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let (left, right) = points().fold((f64::MAX, f64::MIN), |(low, high), (x, _)| (low.min(*x), high.max(*x)));
        let top = points().fold(0.0_f64, |high, (_, y)| high.max(*y)) * 1.1;
        let area = SVGBackend::new(file, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d((left..right).log_scale(), 0.0..top)?;
        chart.configure_mesh().disable_x_mesh().x_desc(self.x).y_desc(self.y).light_line_style(WHITE).draw()?;
        for ((name, points), colour) in self.lines.iter().zip(COLOURS.into_iter().cycle()) {
            let style = colour.stroke_width(2);
            chart
                .draw_series(LineSeries::new(points.iter().copied(), style))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        }
        chart.configure_series_labels().background_style(WHITE).border_style(BLACK.mix(0.2)).draw()?;
        area.present()?;
        drop(chart);
        Ok(())
    }
}
