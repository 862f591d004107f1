//! Flags to a command. Not for: running it.

use crate::config::Role;
use lexopt::prelude::*;
use std::ffi::OsString;
use std::path::PathBuf;

/// Where the config file is when nobody says otherwise.
pub const CONFIG_FILE: &str = "/etc/gobonding/gobonding.yml";

/// What the user wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Help(&'static str),
    Version,
    Run { role: Role, config: PathBuf, verbose: u8 },
    Keygen { bits: u32, out: Option<PathBuf>, another: Option<String> },
    Pubkey { config: PathBuf },
    Check { config: PathBuf, role: Option<Role> },
    Status { socket: Option<PathBuf>, format: Format, watch: Watch },
}

/// How the status is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
    Prometheus,
}

/// How often the status is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    Once,
    EverySecond,
}

/// Reads the command line, without the program's name. The error is a sentence.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut parser = lexopt::Parser::from_args(args);
    let name = match parser.next().map_err(|e| e.to_string())? {
        None => return Err("a command is missing".to_owned()),
        Some(Short('h') | Long("help")) => return Ok(Command::Help(super::help::MAIN)),
        Some(Short('V') | Long("version")) => return Ok(Command::Version),
        Some(Value(v)) => v.to_string_lossy().into_owned(),
        Some(other) => return Err(format!("{} before the command", other.unexpected())),
    };
    let command = match name.as_str() {
        "router" => run(&mut parser, Role::Router),
        "proxy" => run(&mut parser, Role::Proxy),
        "keygen" => keygen(&mut parser),
        "pubkey" => pubkey(&mut parser),
        "check" => check(&mut parser),
        "status" => status(&mut parser),
        "help" => return Ok(Command::Help(super::help::MAIN)),
        "version" => return Ok(Command::Version),
        _ => return Err(format!("{name:?} is no command (router, proxy, keygen, pubkey, check, status)")),
    };
    command.map_err(|e| format!("{name}: {e}"))
}

fn run(parser: &mut lexopt::Parser, role: Role) -> Result<Command, lexopt::Error> {
    let (mut config, mut verbose) = (PathBuf::from(CONFIG_FILE), 0);
    while let Some(arg) = parser.next()? {
        match arg {
            Short('c') | Long("config") => config = parser.value()?.into(),
            Short('v') | Long("verbose") => verbose += 1,
            Short('h') | Long("help") => {
                let text = match role {
                    Role::Router => super::help::ROUTER,
                    Role::Proxy => super::help::PROXY,
                };
                return Ok(Command::Help(text));
            }
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(Command::Run { role, config, verbose })
}

fn keygen(parser: &mut lexopt::Parser) -> Result<Command, lexopt::Error> {
    let (mut bits, mut out, mut another) = (2048, None, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("bits") => {
                bits = parser.value()?.parse()?;
                if !(2048..=4096).contains(&bits) {
                    return Err(format!("--bits {bits}: keys have 2048 to 4096 bits").into());
                }
            }
            Short('o') | Long("out") => out = Some(parser.value()?.into()),
            Long("another") => another = Some(parser.value()?.string()?),
            Short('h') | Long("help") => return Ok(Command::Help(super::help::KEYGEN)),
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(Command::Keygen { bits, out, another })
}

fn pubkey(parser: &mut lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut config = PathBuf::from(CONFIG_FILE);
    while let Some(arg) = parser.next()? {
        match arg {
            Short('c') | Long("config") => config = parser.value()?.into(),
            Short('h') | Long("help") => return Ok(Command::Help(super::help::PUBKEY)),
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(Command::Pubkey { config })
}

fn check(parser: &mut lexopt::Parser) -> Result<Command, lexopt::Error> {
    let (mut config, mut role) = (PathBuf::from(CONFIG_FILE), None);
    while let Some(arg) = parser.next()? {
        match arg {
            Short('c') | Long("config") => config = parser.value()?.into(),
            Long("role") => {
                role = match parser.value()?.to_string_lossy().as_ref() {
                    "router" => Some(Role::Router),
                    "proxy" => Some(Role::Proxy),
                    other => return Err(format!("--role {other}: write router or proxy").into()),
                }
            }
            Short('h') | Long("help") => return Ok(Command::Help(super::help::CHECK)),
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(Command::Check { config, role })
}

fn status(parser: &mut lexopt::Parser) -> Result<Command, lexopt::Error> {
    let (mut socket, mut format, mut watch) = (None, Format::Text, Watch::Once);
    while let Some(arg) = parser.next()? {
        match arg {
            Short('s') | Long("socket") => socket = Some(parser.value()?.into()),
            Short('j') | Long("json") => format = Format::Json,
            Long("prometheus") => format = Format::Prometheus,
            Short('w') | Long("watch") => watch = Watch::EverySecond,
            Short('h') | Long("help") => return Ok(Command::Help(super::help::STATUS)),
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(Command::Status { socket, format, watch })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_role_has_its_config_file_and_verbosity() {
        let run = |role, config: &str, verbose| Command::Run { role, config: config.into(), verbose };
        assert_eq!(of("router"), Ok(run(Role::Router, CONFIG_FILE, 0)));
        assert_eq!(of("proxy -c /x.yml -vv"), Ok(run(Role::Proxy, "/x.yml", 2)));
        assert_eq!(of("proxy --config=/x.yml"), Ok(run(Role::Proxy, "/x.yml", 0)));
    }

    #[test]
    fn each_command_explains_itself() {
        for name in ["", "router", "proxy", "keygen", "pubkey", "check", "status"] {
            let Ok(Command::Help(text)) = of(&format!("{name} --help")) else { panic!("{name}") };
            assert!(text.contains(&format!("Usage: gobonding {name}")), "{name}");
        }
    }

    #[test]
    fn wrong_flags_are_named() {
        for (line, word) in [
            ("", "missing"),
            ("roter", "no command"),
            ("router --confg x", "--confg"),
            ("router -c", "-c"),
            ("check --role both", "router or proxy"),
            ("keygen --bits 1024", "2048"),
            ("keygen --bits x", "x"),
            ("status extra", "extra"),
        ] {
            let error = of(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
