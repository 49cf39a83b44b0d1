//! The defaults, held against a golden file and against what README.md says they are.

use super::Config;

#[path = "../../tests/golden/compare.rs"]
mod compare;

fn defaults() -> String {
    toml::to_string(&Config::default()).expect("the defaults can be written")
}

/// The first configuration in README.md: all keys.
fn documented() -> String {
    let readme = include_str!("../../../README.md");
    let block = readme.split("```toml\n").nth(1).expect("a block of TOML");
    block.split("```").next().unwrap_or_default().to_owned()
}

#[test]
fn the_defaults_are_as_they_were() {
    compare::compare("config.toml", &defaults());
    let again: Config = toml::from_str(&defaults()).expect("what was written can be read");
    assert_eq!(again, Config::default());
}

#[test]
fn the_readme_tells_every_default() {
    let readme: toml::Table = toml::from_str(&documented()).expect("TOML");
    let defaults: toml::Table = toml::from_str(&defaults()).expect("TOML");
    let number = |value: &toml::Value| match value {
        toml::Value::Integer(whole) => toml::Value::Float(*whole as f64),
        other => other.clone(),
    };
    for (section, keys) in &defaults {
        for (key, value) in keys.as_table().expect("a section") {
            let told = readme[section].get(key).map(number);
            assert_eq!(told, Some(number(value)), "README.md: [{section}] {key}");
        }
    }
    toml::from_str::<Config>(&documented()).expect("README.md names no key that is unknown");
}
