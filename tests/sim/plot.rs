//! The series of a run as CSV text, and as one picture.

use super::measure::{LinkPoint, Point};
use super::score::Scored;
use std::fmt::Write;

/// One line per 100 ms; columns of each link are marked `l0_` and so on.
pub fn csv(s: &Scored) -> String {
    let links = s.outcome.series.first().map_or(0, |p| p.links.len());
    let mut out = "time_s,goodput_mbit,outbound_queue_bytes,reorder_wait_ms,inner_cwnd".to_string();
    out += ",again_packets,resent,lost,aqm,holes";
    for i in 0..links {
        for name in [
            "offered_mbit",
            "used_mbit",
            "queue_ms",
            "cwnd",
            "in_flight",
            "rate_mbit",
            "est_queue_ms",
            "state",
        ] {
            let _ = write!(out, ",l{i}_{name}");
        }
    }
    for (n, p) in s.outcome.series.iter().enumerate() {
        let _ = write!(
            out,
            "\n{:.1},{:.3},{},{:.2},{},{},{}",
            (n + 1) as f64 * 0.1,
            goodput(p),
            p.outbound_queue_bytes,
            p.reorder_wait_ms,
            p.inner_cwnd,
            p.again_packets,
            p.counts.map(|c| c.to_string()).join(",")
        );
        for l in &p.links {
            let state = l.state.map_or("-".to_string(), |s| format!("{s:?}"));
            let _ = write!(
                out,
                ",{:.3},{:.3},{:.2},{},{},{:.3},{:.2},{state}",
                l.offered_mbit,
                l.used_mbit,
                l.queue_ms,
                l.cwnd,
                l.in_flight,
                l.rate_mbit,
                l.estimated_queue_ms
            );
        }
    }
    out.push('\n');
    out
}

/// Payload read, Mbit/s.
fn goodput(p: &Point) -> f64 {
    p.goodput as f64 * 8.0 / 1e5
}

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 70.0;
const PANEL: f64 = 120.0;
const GAP: f64 = 34.0;

struct Line<'a> {
    name: &'a str,
    colour: &'a str,
    fill: bool,
    values: Vec<f64>,
}

fn line<'a>(name: &'a str, colour: &'a str, values: Vec<f64>) -> Line<'a> {
    Line { name, colour, fill: false, values }
}

/// Panels from top to bottom: the sum; for each link its rates, its queue and its window; the tunnel's queues;
/// the inner window.
pub fn svg(s: &Scored) -> String {
    let series = &s.outcome.series;
    let links = series.first().map_or(0, |p| p.links.len());
    let all = |f: &dyn Fn(&Point) -> f64| series.iter().map(f).collect::<Vec<f64>>();
    let mut body = String::new();
    let mut top = GAP + 20.0;
    let mut panel = |title: &str, lines: Vec<Line<'_>>| {
        draw(&mut body, top, title, &lines);
        top += PANEL + GAP;
    };
    let sum = all(&|p| p.links.iter().map(|l| l.offered_mbit).sum());
    let used = all(&|p| p.links.iter().map(|l| l.used_mbit).sum());
    panel(
        "all links, Mbit/s",
        vec![
            Line { name: "offered", colour: "#bbb", fill: true, values: sum },
            line("used", "#36c", used),
            line("goodput", "#c33", all(&goodput)),
        ],
    );
    for i in 0..links {
        let of = |f: &dyn Fn(&LinkPoint) -> f64| all(&|p: &Point| f(&p.links[i]));
        panel(
            &format!("link {i}, Mbit/s"),
            vec![
                Line { name: "offered", colour: "#bbb", fill: true, values: of(&|l| l.offered_mbit) },
                line("used", "#36c", of(&|l| l.used_mbit)),
                line("estimated rate", "#393", of(&|l| l.rate_mbit)),
            ],
        );
        panel(
            &format!("link {i}, queue ms (red strip: not up)"),
            vec![
                line("queue", "#36c", of(&|l| l.queue_ms)),
                line("estimated queue", "#393", of(&|l| l.estimated_queue_ms)),
                line(
                    "not up",
                    "#c33",
                    of(&|l| if format!("{:?}", l.state) == "Some(Up)" { 0.0 } else { 20.0 }),
                ),
            ],
        );
        panel(
            &format!("link {i}, kB"),
            vec![
                line("window", "#36c", of(&|l| l.cwnd as f64 / 1e3)),
                line("in flight", "#393", of(&|l| l.in_flight as f64 / 1e3)),
            ],
        );
    }
    panel("flow queues, kB", vec![line("queue", "#36c", all(&|p| p.outbound_queue_bytes as f64 / 1e3))]);
    panel("reorder wait, ms (longest)", vec![line("wait", "#c33", all(&|p| p.reorder_wait_ms))]);
    panel("inner window, segments", vec![line("cwnd", "#36c", all(&|p| f64::from(p.inner_cwnd)))]);
    let o = &s.outcome;
    let title = format!(
        "{}/{}: {:.2} Mbit/s, share {:.3}, retransmits {}, timeouts {}",
        s.name,
        s.workload.name,
        o.goodput80_mbit,
        s.share(),
        o.retransmits,
        o.timeouts
    );
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{top}\" font-family=\"sans-serif\" \
         font-size=\"12\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/>\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"16\">{title}</text>{body}</svg>\n",
        WIDTH + LEFT + 20.0
    )
}

fn draw(out: &mut String, top: f64, title: &str, lines: &[Line<'_>]) {
    let high = lines.iter().flat_map(|l| l.values.iter().copied()).fold(0.0, f64::max).max(1e-9);
    let n = lines.first().map_or(1, |l| l.values.len()).max(1) as f64;
    let x = |i: usize| LEFT + WIDTH * i as f64 / n;
    let y = |v: f64| top + PANEL - PANEL * v / high;
    let _ = write!(
        out,
        "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{PANEL}\" fill=\"none\" stroke=\"#ccc\"/>\
         <text x=\"{LEFT}\" y=\"{}\">{title}</text><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{high:.1}</text>",
        top - 4.0,
        LEFT - 4.0,
        top + 10.0
    );
    for s in (0..=(n / 10.0) as usize).step_by(((n / 200.0).ceil() as usize).max(1)) {
        let _ = write!(
            out,
            "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{top}\" y2=\"{1}\" stroke=\"#eee\"/>\
             <text x=\"{0:.1}\" y=\"{2}\" fill=\"#999\" font-size=\"10\">{s}</text>",
            x(s * 10),
            top + PANEL,
            top + PANEL + 11.0
        );
    }
    for (k, l) in lines.iter().enumerate() {
        let mut points = String::new();
        for (i, v) in l.values.iter().enumerate() {
            let _ = write!(points, "{:.1},{:.1} ", x(i), y(*v));
        }
        let (a, b) = (x(0), x(l.values.len().saturating_sub(1)));
        let floor = top + PANEL;
        let _ = if l.fill {
            write!(out, "<polygon points=\"{a:.1},{floor} {points}{b:.1},{floor}\" fill=\"{}\"/>", l.colour)
        } else {
            write!(out, "<polyline points=\"{points}\" fill=\"none\" stroke=\"{}\"/>", l.colour)
        };
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{}\" fill=\"{}\">{}</text>",
            LEFT + WIDTH - 130.0 * (k + 1) as f64,
            top - 4.0,
            l.colour,
            l.name
        );
    }
}
