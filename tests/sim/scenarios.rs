//! The scenarios that have names, and where recordings are looked for.
//!
//! Those of the independent rig have the same names and links here. Where the rig's folder is found its
//! files are read; where it is not, links with recordings are replaced by generated ones of like means.

use super::scenario::Scenario;
use std::path::{Path, PathBuf};

/// Where the rig is, if it is: beside the repository.
pub const RIG: &str = "../shared/rig/bed";

const L: &str = r#""queue_bytes":1000000"#;

/// Name and links of every built-in scenario.
fn built_in() -> Vec<(&'static str, String)> {
    let lte = |mbit: f64, seed: u32, ms: u32, up: &str| mobile("lte", mbit, seed, ms, up);
    let g5 = |mbit: f64, seed: u32, ms: u32, up: &str| mobile("5g", mbit, seed, ms, up);
    let star = |mbit: f64, seed: u32, ms: u32, up: &str| mobile("starlink", mbit, seed, ms, up);
    let plain = |links: &[&str]| links.iter().map(|l| format!("{{{l}}}")).collect::<Vec<_>>().join(",");
    let fat = |up: f64| format!(r#"{{"rate_mbit":{up}}}"#);
    let up_lte = |seed: u32| format!(r#"{{"mobile":{{"kind":"lte","mean_mbit":6,"seed":{seed}}}}}"#);
    let step =
        |a: u32, b: u32| format!(r#"{{"steps":[[0,{a}],[2,{b}]],"steps_period_s":4,"delay_ms":30,{L}}}"#);
    let sine = |period: u32, phase: f64| {
        let s = format!(r#"{{"min_mbit":5,"max_mbit":30,"period_s":{period},"step_s":0.2,"phase":{phase}}}"#);
        format!(r#"{{"sine":{s},"delay_ms":30,{L}}}"#)
    };
    let thin = r#""up":{"rate_mbit":0.7,"queue_bytes":100000},"queue_bytes":600000"#;
    let asym = |mbit: u32, ms: u32| format!(r#"{{"delay_ms":{ms},"down":{{"rate_mbit":{mbit}}},{thin}}}"#);
    let ge = r#""rate_mbit":20,"delay_ms":30,"ge":{"p_gb":0.00202,"p_bg":0.2}"#;
    let jump = r#""delay_steps":[[0,0],[6,20],[12,8],[18,40]],"delay_steps_period_s":24"#;
    let equal = r#""rate_mbit":20,"delay_ms":20"#;
    let lossy = r#""rate_mbit":20,"delay_ms":30,"loss":0.01"#;
    let fast = r#""rate_mbit":100,"delay_ms":10"#;
    let jumping = format!(r#""rate_mbit":40,"delay_ms":20,"queue_bytes":600000,{jump}"#);
    let stall = format!(r#"{equal},{L},"outages":[[10,14,"stall"]]"#);
    let deep = format!("{equal},{L}");
    vec![
        ("two-equal", plain(&[equal, equal])),
        ("two-unequal", plain(&[r#""rate_mbit":50,"delay_ms":10"#, r#""rate_mbit":10,"delay_ms":60"#])),
        (
            "three-mixed",
            plain(&[
                r#""rate_mbit":30,"delay_ms":15"#,
                r#""rate_mbit":10,"delay_ms":40"#,
                r#""rate_mbit":5,"delay_ms":80"#,
            ]),
        ),
        (
            "shallow",
            plain(&[
                r#""rate_mbit":25,"delay_ms":25,"queue_bytes":90000"#,
                r#""rate_mbit":15,"delay_ms":40,"queue_bytes":90000"#,
            ]),
        ),
        ("asym", [asym(40, 25), asym(25, 35)].join(",")),
        ("fast", plain(&[fast, fast])),
        ("lossy", plain(&[lossy, lossy])),
        ("lossy-burst", plain(&[ge, ge])),
        ("step", [step(30, 5), step(5, 30)].join(",")),
        ("sine", [sine(4, 0.0), sine(5, 0.5)].join(",")),
        ("delay-step", plain(&[&jumping, r#""rate_mbit":15,"delay_ms":30,"queue_bytes":400000"#])),
        (
            "badlink",
            plain(&[
                r#""rate_mbit":30,"delay_ms":20"#,
                r#""rate_mbit":0.7,"delay_ms":250,"loss":0.05,"queue_bytes":200000"#,
            ]),
        ),
        ("cut", plain(&[equal, &format!(r#"{equal},"outages":[[10,20,"drop"]]"#)])),
        ("stall", plain(&[&deep, &stall])),
        ("lte2", [lte(7.5, 1, 25, &up_lte(11)), lte(12.0, 2, 25, &up_lte(12))].join(",")),
        (
            "lte3",
            [lte(9.0, 3, 25, &up_lte(13)), lte(6.0, 4, 25, &up_lte(14)), lte(13.0, 5, 25, &up_lte(15))]
                .join(","),
        ),
        (
            "city3",
            [lte(10.0, 6, 25, &up_lte(16)), lte(5.0, 7, 35, &up_lte(17)), lte(17.7, 8, 30, &fat(4.0))]
                .join(","),
        ),
        ("car2", [g5(20.0, 9, 20, &fat(6.0)), star(33.0, 10, 28, &fat(6.0))].join(",")),
        (
            "car4",
            [
                g5(18.0, 11, 30, &fat(5.0)),
                g5(12.0, 12, 25, &fat(5.0)),
                g5(18.0, 13, 20, &fat(5.0)),
                star(32.0, 14, 28, &fat(6.0)),
            ]
            .join(","),
        ),
        ("walk2", [lte(17.7, 15, 30, &fat(8.0)), mobile("wifi", 41.0, 16, 8, &fat(15.0))].join(",")),
    ]
}

fn mobile(kind: &str, mbit: f64, seed: u32, delay_ms: u32, up: &str) -> String {
    let down = format!(r#"{{"mobile":{{"kind":"{kind}","mean_mbit":{mbit},"seed":{seed}}}}}"#);
    format!(r#"{{"delay_ms":{delay_ms},{L},"down":{down},"up":{up}}}"#)
}

/// Names of all built-in scenarios.
pub fn names() -> Vec<&'static str> {
    built_in().into_iter().map(|b| b.0).collect()
}

/// The built-in scenario `name`, made without any file.
pub fn generated(name: &str) -> Result<Scenario, String> {
    let (_, links) = built_in()
        .into_iter()
        .find(|b| b.0 == name)
        .ok_or_else(|| format!("no scenario {name:?}; there are {}", names().join(" ")))?;
    let mut s = Scenario::parse(name, &format!(r#"{{"links":[{links}]}}"#), &[])?;
    s.generated = links.contains("mobile");
    Ok(s)
}

/// The scenario of a name or a file, from the rig in `rig` where that has it.
pub fn find(name: &str, rig: &str) -> Result<Scenario, String> {
    let rig = PathBuf::from(rig);
    let mut dirs = vec![rig.join("traces"), rig.join("../../traces"), PathBuf::from("../shared/traces")];
    if name.ends_with(".json") {
        let path = PathBuf::from(name);
        dirs.extend(
            path.parent()
                .map(|p| [p.to_path_buf(), p.join("traces"), p.join("../traces")])
                .into_iter()
                .flatten(),
        );
        return Scenario::load(&path, &dirs);
    }
    let file = rig.join("scenarios").join(format!("{name}.json"));
    if file.is_file() {
        return Scenario::load(&file, &dirs);
    }
    generated(name)
}

/// Scenarios made of the recordings in `dir`: links recorded together, and threes of the single LTE ones.
pub fn public(dir: &Path) -> Result<Vec<Scenario>, String> {
    let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut files: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    files.retain(|f| f.contains("-down") && f.contains(".trace"));
    files.sort();
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    let mut singles = 0;
    for f in files {
        let name = if f.starts_with("sim") || f.starts_with("pair") {
            f.split('-').next().unwrap_or_default().to_string()
        } else if f.starts_with("lte-") {
            singles += 1;
            format!("lte-set{}", (singles - 1) / 3)
        } else {
            continue;
        };
        match groups.iter_mut().find(|g| g.0 == name) {
            Some(g) => g.1.push(f),
            None => groups.push((name, vec![f])),
        }
    }
    groups.iter().map(|(name, files)| group(name, files, dir)).collect()
}

fn group(name: &str, files: &[String], dir: &Path) -> Result<Scenario, String> {
    let delay = |f: &str| match f {
        f if f.contains("wifi") => 8,
        f if f.contains("starlink") => 28,
        f if f.contains("5g") => 20,
        _ => 30,
    };
    let link = |(i, f): (usize, &String)| {
        let (f, ms) = (f.trim_end_matches(".gz"), delay(f) + 3 * i);
        format!(r#"{{"delay_ms":{ms},{L},"down":{{"trace":"{f}"}},"up":{{"rate_mbit":6}}}}"#)
    };
    let links: Vec<String> = files.iter().enumerate().map(link).collect();
    Scenario::parse(name, &format!(r#"{{"links":[{}]}}"#, links.join(",")), &[dir.to_path_buf()])
}
