//! Bars, drawn here as SVG: no script, no foreign library. What they show is said in words beside them.

use maud::{Markup, html};

use super::look;

pub struct Bars<'a> {
    pub what: &'a str,
    pub values: Vec<u64>,
    /// Places on the axis, counted in bars, that have a name.
    pub marks: Vec<(u64, String)>,
    /// The names of the axis's ends.
    pub from: &'a str,
    pub to: &'a str,
}

const WIDTH: u64 = 600;
const HEIGHT: u64 = 100;
const TOP: u64 = 14;
const FOOT: u64 = 16;

pub fn bars(bars: &Bars<'_>) -> Markup {
    let count = u64::try_from(bars.values.len()).unwrap_or(1).max(1);
    let most = bars.values.iter().copied().max().unwrap_or(0);
    let last = bars.values.last().copied().unwrap_or(0);
    let place = |at: u64| at * WIDTH / count;
    let width = (WIDTH / count).saturating_sub(1).max(1);
    // The least that is there must be seen.
    let height = |value: u64| match value {
        0 => 0,
        value => (value.saturating_mul(HEIGHT) / most.max(1)).max(1),
    };
    let ground = TOP + HEIGHT;
    let words = format!("{}: at most {most}, at the end {last}", bars.what);
    html! {
        svg .chart viewBox={ "0 0 " (WIDTH) " " (ground + FOOT) } role="img" aria-label=(words) {
            line .axis x1="0" y1=(ground) x2=(WIDTH) y2=(ground) {}
            @for (at, value) in (0..).zip(&bars.values) {
                @let tall = height(*value);
                @if tall > 0 {
                    rect .bar x=(place(at)) y=(ground - tall) width=(width) height=(tall) {}
                }
            }
            @for (at, name) in &bars.marks {
                line .mark x1=(place(*at)) y1="0" x2=(place(*at)) y2=(ground) {}
                text x=(place(*at) + 3) y="10" { (name) }
            }
            text x="0" y=(ground + FOOT - 3) { (bars.from) }
            text x=(WIDTH) y=(ground + FOOT - 3) text-anchor="end" { (bars.to) }
            @if bars.marks.is_empty() {
                text x="0" y="10" { "at most " (look::count(most)) }
            }
        }
    }
}
