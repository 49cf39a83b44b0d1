//! Questions about users: what was typed becomes what call control is asked.

use serde_json::json;
use tandem_pbx::office::Account;
use tandem_pbx::seam::{AdminAsk, UserChange};
use tandem_pbx::users::{extension_fault, name_fault};

use crate::secrets::{self, Keeper};

/// A user to be made, and what is told of it to whoever asked: passwords are shown this once.
pub(super) fn add(
    keeper: &Keeper,
    extension: String,
    name: String,
    password: Option<String>,
    pin: Option<String>,
) -> Result<(AdminAsk, serde_json::Value), String> {
    let fault = extension_fault(&extension).or_else(|| name_fault(&name));
    fault.map_or(Ok(()), Err)?;
    let password = secrets::password(password, &extension)?;
    let pin = secrets::pin(pin, &extension)?;
    let (ha1_md5, ha1_sha256) = keeper.ha1(&extension, &password);
    let ask = AdminAsk::AddUser {
        account: Account {
            extension: extension.as_str().into(),
            name: name.as_str().into(),
            ha1_md5,
            ha1_sha256,
        },
        pin_hash: keeper.pin_hash(&pin)?,
    };
    let told = json!({ "extension": extension, "name": name, "password": password, "pin": pin });
    Ok((ask, told))
}

/// A user to be changed, by `key=value`.
pub(super) fn set(
    keeper: &Keeper,
    extension: String,
    settings: &[String],
) -> Result<AdminAsk, String> {
    let mut change = UserChange::default();
    let mut password = None;
    for setting in settings {
        let (key, value) = setting
            .split_once('=')
            .ok_or_else(|| format!("'{setting}' is not key=value"))?;
        match key {
            "name" => change.name = Some(value.into()),
            "extension" => change.extension = Some(value.into()),
            "password" => password = Some(value.to_owned()),
            "pin" => {
                let pin = secrets::pin(Some(value.into()), &extension)?;
                change.pin_hash = Some(keeper.pin_hash(&pin)?);
            }
            "dnd" => change.dnd = Some(on_or_off(key, value)?),
            "forward" => change.forward = Some((!value.is_empty()).then(|| value.into())),
            _ => {
                return Err(format!(
                    "'{key}' cannot be set; what can: name, extension, password, pin, dnd (on, off), forward (an extension, or nothing)"
                ));
            }
        }
    }
    if let Some(password) = password {
        let dialled = change.extension.as_deref().unwrap_or(&extension);
        let password = secrets::password(Some(password), dialled)?;
        change.ha1 = Some(keeper.ha1(dialled, &password));
    }
    Ok(AdminAsk::SetUser {
        extension: extension.into(),
        change,
    })
}

fn on_or_off(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{key} is on or off, not '{value}'")),
    }
}
