//! `tandem trunk …` and `tandem route …`: lines to the world, and which numbers go over them.

use std::collections::BTreeMap;

use axum::http::Method;

use crate::admin::Client;
use crate::admin::outward::{self, RouteSettings, TrunkSettings};
use crate::cli::outward::{Route, Trunk};
use crate::commands::lists::{print_table, show};

pub(crate) fn run(trunk: &Trunk) -> Result<(), String> {
    match trunk {
        Trunk::Add {
            name,
            settings,
            node,
        } => {
            let settings = TrunkSettings {
                name: Some(name.clone()),
                ..parse_trunk(settings)?
            };
            Client::of(node.data()).send(Method::POST, &["trunks"], &settings)
        }
        Trunk::Set {
            name,
            settings,
            node,
        } => {
            let (path, settings) = (["trunks", name], parse_trunk(settings)?);
            Client::of(node.data()).send(Method::PATCH, &path, &settings)
        }
        Trunk::Remove { name, node } => {
            Client::of(node.data()).carry_out(Method::DELETE, &["trunks", name])
        }
        Trunk::List(how) => show(how, &["trunks"], print_trunks),
    }
}

pub(crate) fn run_route(route: &Route) -> Result<(), String> {
    match route {
        Route::Add {
            pattern,
            settings,
            node,
        } => {
            let settings = RouteSettings {
                pattern: Some(pattern.clone()),
                ..parse_route(settings)?
            };
            Client::of(node.data()).send(Method::POST, &["routes"], &settings)
        }
        Route::Set {
            pattern,
            settings,
            node,
        } => {
            let (path, settings) = (["routes", pattern], parse_route(settings)?);
            Client::of(node.data()).send(Method::PATCH, &path, &settings)
        }
        Route::Remove { pattern, node } => {
            Client::of(node.data()).carry_out(Method::DELETE, &["routes", pattern])
        }
        Route::List(how) => show(how, &["routes"], print_routes),
    }
}

fn print_trunks(trunks: Vec<outward::Trunk>) {
    let rows = trunks.into_iter().map(|trunk| {
        let numbers = trunk.numbers.iter();
        let mut leads: Vec<String> = numbers.map(|(n, to)| format!("{n} to {to}")).collect();
        leads.extend(trunk.otherwise.map(|to| format!("others to {to}")));
        vec![
            trunk.name,
            format!("{} {}", trunk.transport, trunk.host),
            format!("{} of {}", trunk.calls, trunk.calls_max),
            trunk.number.unwrap_or_default(),
            leads.join(", "),
        ]
    });
    print_table(
        &["TRUNK", "HOST", "CALLS", "SHOWS", "CALLS TO"],
        rows,
        "no trunks yet; tandem trunk add NAME host=ADDRESS makes one",
    );
}

fn print_routes(routes: Vec<outward::Route>) {
    let rows = routes.into_iter().map(|route| {
        let rewritten = match (route.strip, &*route.prefix) {
            (0, "") => String::new(),
            (strip, "") => format!("without {strip} in front"),
            (0, prefix) => format!("{prefix} in front"),
            (strip, prefix) => format!("{prefix} for {strip} in front"),
        };
        vec![
            route.pattern,
            route.trunks.join(", "),
            rewritten,
            route.kind,
        ]
    });
    print_table(
        &["NUMBERS", "BY", "AS", "FOR"],
        rows,
        "no routes yet; tandem route add PATTERN trunks=NAME makes one",
    );
}

/// What was typed as `key=value`; nothing behind the sign is none.
fn parse_trunk(typed: &[String]) -> Result<TrunkSettings, String> {
    let mut settings = TrunkSettings::default();
    for setting in typed {
        let (key, value) = key_value(setting)?;
        let text = || Some(value.to_owned());
        let or_none = || Some(text().filter(|text| !text.is_empty()));
        match key {
            "name" => settings.name = text(),
            "host" => settings.host = text(),
            "transport" => settings.transport = text(),
            "username" => settings.username = or_none(),
            "password" => settings.password = or_none(),
            "number" => settings.number = or_none(),
            "otherwise" => settings.otherwise = or_none(),
            "calls_max" => settings.calls_max = Some(number(key, value)?),
            "numbers" => settings.numbers = Some(numbers(value)?),
            _ => {
                return Err(format!(
                    "'{key}' cannot be set; what can: name, host, transport (udp, tcp), username, password, number, \
                     calls_max, numbers (NUMBER:EXT,NUMBER:EXT), otherwise (an extension, or nothing)"
                ));
            }
        }
    }
    Ok(settings)
}

fn parse_route(typed: &[String]) -> Result<RouteSettings, String> {
    let mut settings = RouteSettings::default();
    for setting in typed {
        let (key, value) = key_value(setting)?;
        let text = || Some(value.to_owned());
        match key {
            "pattern" => settings.pattern = text(),
            "prefix" => settings.prefix = text(),
            "kind" => settings.kind = text(),
            "strip" => settings.strip = Some(number(key, value)?),
            "trunks" => {
                let names = value.split(',').map(str::trim);
                let names = names.filter(|name| !name.is_empty());
                settings.trunks = Some(names.map(str::to_owned).collect());
            }
            _ => {
                return Err(format!(
                    "'{key}' cannot be set; what can: pattern, trunks (NAME,NAME), strip, prefix, \
                     kind (outward, international, emergency)"
                ));
            }
        }
    }
    Ok(settings)
}

fn key_value(setting: &str) -> Result<(&str, &str), String> {
    let pair = setting.split_once('=');
    pair.ok_or_else(|| format!("'{setting}' is not key=value"))
}

fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, String> {
    let wrong = |_| format!("{key} is a number, not '{value}'");
    value.parse().map_err(wrong)
}

/// `NUMBER:EXT,NUMBER:EXT`.
fn numbers(value: &str) -> Result<BTreeMap<String, String>, String> {
    let pairs = value.split(',').map(str::trim);
    let pairs = pairs.filter(|pair| !pair.is_empty()).map(|pair| {
        let (number, to) = pair
            .split_once(':')
            .ok_or_else(|| format!("'{pair}' is not NUMBER:EXT"))?;
        Ok((number.to_owned(), to.to_owned()))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_what_is_asked() {
        let typed = [
            "host=192.0.2.1",
            "numbers=+49301:101, +49302:102",
            "username=",
            "calls_max=4",
        ];
        let settings = parse_trunk(&typed.map(str::to_owned)).unwrap();
        let wanted = TrunkSettings {
            host: Some("192.0.2.1".into()),
            numbers: Some(BTreeMap::from([
                ("+49301".into(), "101".into()),
                ("+49302".into(), "102".into()),
            ])),
            username: Some(None),
            calls_max: Some(4),
            ..TrunkSettings::default()
        };
        assert_eq!(settings, wanted);
        let typed = ["trunks=a,b", "strip=1"].map(str::to_owned);
        let route = parse_route(&typed).unwrap();
        assert_eq!(route.trunks, Some(vec!["a".into(), "b".into()]));
        assert_eq!(route.strip, Some(1));
    }

    #[test]
    fn what_cannot_be_set_is_said() {
        let trunk = |typed: &str| parse_trunk(&[typed.to_owned()]).unwrap_err();
        assert_eq!(trunk("numbers=5"), "'5' is not NUMBER:EXT");
        assert_eq!(trunk("calls_max=x"), "calls_max is a number, not 'x'");
        assert!(trunk("colour=red").starts_with("'colour' cannot be set"));
        let route = parse_route(&["strip=-1".to_owned()]).unwrap_err();
        assert_eq!(route, "strip is a number, not '-1'");
    }
}
