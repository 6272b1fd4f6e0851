//! The picture for the README: a bar for each runner, from the save to the new answer, with the quartiles
//! on it and what clients noticed beside it. By hand, since it is a few rectangles.

use std::fmt::Write as _;

use crate::figures::{Figures, seconds};
use crate::runner::Kind;

/// Where the bars begin, how long the longest is, and how far they are apart.
const LEFT: f64 = 150.0;
const LENGTH: f64 = 380.0;
const STEP: f64 = 34.0;

/// Of those that have swaps. Empty where none has.
pub(crate) fn of(all: &[Figures]) -> String {
    let rows: Vec<_> = all.iter().filter_map(|it| Some((it, it.took()?))).collect();
    let longest = rows.iter().map(|(_, took)| took.high.as_secs_f64()).fold(0.001, f64::max);
    let mut height = 44.0;
    let mut bars = String::new();
    for (figures, took) in &rows {
        let [low, median, high] =
            [took.low, took.median, took.high].map(|it| it.as_secs_f64() / longest * LENGTH);
        let class = match figures.runner.kind {
            Kind::Hand => "hand",
            Kind::Other => "other",
            Kind::Ours => "ours",
        };
        let failed = figures.sum(|it| it.failed);
        let per_cent = failed * 100 / figures.sum(|it| it.requests).max(1);
        let noticed = if failed == 0 { "none".into() } else { format!("{failed} ({per_cent} %)") };
        let (text, middle) = (height + 15.0, height + 10.0);
        let _ = write!(
            bars,
            r#"<text x="{name}" y="{text}" text-anchor="end">{}</text>
<rect class="{class}" x="{LEFT}" y="{height}" width="{median:.1}" height="20"/>
<path d="M{:.1} {middle}H{:.1}"/>
<text x="{:.1}" y="{text}">{}</text>
<text x="{failures}" y="{text}" text-anchor="end">{noticed}</text>
"#,
            figures.runner.name,
            LEFT + low,
            LEFT + high,
            LEFT + high + 8.0,
            seconds(took.median),
            name = LEFT - 10.0,
            failures = WIDTH - 10.0,
        );
        height += STEP;
    }
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">
<style>
text {{ fill: #444 }} path {{ stroke: #888; stroke-width: 2 }}
.ours {{ fill: #d9622b }} .other {{ fill: #7a8ca5 }} .hand {{ fill: #c3c9d1 }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #ccc }} .hand {{ fill: #55606e }} }}
</style>
<text x="{LEFT}" y="24">from a save to the new answer (median, quartiles)</text>
<text x="{}" y="24" text-anchor="end">failed requests meanwhile</text>
{bars}</svg>
"#,
        WIDTH - 10.0
    )
}

const WIDTH: f64 = 800.0;
