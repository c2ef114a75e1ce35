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

/// In units of its own: the drawing is stretched to the room it has.
const WIDTH: u64 = 600;
const HEIGHT: u64 = 100;

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
    let (most_text, last_text) = (look::count(most), look::count(last));
    let words = format!("{}: at most {most_text}, at the end {last_text}", bars.what);
    html! {
        p .ends { span { "at most " (most_text) } }
        svg .chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img"
            aria-label=(words) {
            line .axis x1="0" y1=(HEIGHT) x2=(WIDTH) y2=(HEIGHT) {}
            @for (at, value) in (0..).zip(&bars.values) {
                @let tall = height(*value);
                @if tall > 0 {
                    rect .bar x=(place(at)) y=(HEIGHT - tall) width=(width) height=(tall) {}
                }
            }
            @for (at, _) in &bars.marks {
                line .mark x1=(place(*at)) y1="0" x2=(place(*at)) y2=(HEIGHT) {}
            }
        }
        p .ends { span { (bars.from) } span { (bars.to) } }
        @if !bars.marks.is_empty() {
            p .hint {
                "Dashed: "
                @for (at, (place, name)) in bars.marks.iter().enumerate() {
                    @if at > 0 { ", " }
                    (name) " from " (place)
                }
            }
        }
    }
}
