//! Where a call has been before it came, and who sent it on: Diversion, History-Info and Referred-By.
//!
//! From a trusted peer who says who calls they are read, and handed to call control with the call; from a
//! phone they are not, since nothing proves them. On a call that goes out all are written as call control
//! says. Both headers say the same, for those who know only one of them; where both come, Diversion
//! counts. Who is not to be known stays unknown.
//!
//! Sources: RFC 5806 (Diversion), RFC 7044 (History-Info), RFC 4458 (`cause`), RFC 7544 (how the two
//! correspond), RFC 3892 (Referred-By).

use std::fmt::Write as _;

use tandem_pbx::seam::{CallHistory, DIVERSIONS_MAX, Diversion, DiversionReason, Referrer};

use crate::caller::{address, encoded};
use crate::context::ShimContext;
use crate::message::{Message, Name};
use crate::uri::{NameAddr, Uri, param, percent_decode, split_list};

/// The longest number and name that are passed on, in characters.
const CHARS_MAX: usize = 64;
/// Whoever is not to be known (RFC 3323 §4.1.1.3).
const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";

/// The lines that a call was sent on from, the first one first; at most [`DIVERSIONS_MAX`], the last ones.
pub(crate) fn read(request: &Message) -> Vec<Diversion> {
    let mut diversions = from_diversion(request);
    if diversions.is_empty() {
        diversions = from_history(request);
    }
    let too_many = diversions.len().saturating_sub(DIVERSIONS_MAX);
    diversions.drain(..too_many);
    let privacy = request.headers(Name::Privacy);
    let mut privacy = privacy.flat_map(|v| v.split([';', ','])).map(str::trim);
    let hides = |v: &str| {
        let all = ["header", "history", "session"];
        all.iter().any(|all| v.eq_ignore_ascii_case(all))
    };
    if privacy.any(hides) {
        diversions.iter_mut().for_each(withhold);
    }
    diversions
}

/// RFC 5806 §4: the latest stands on top.
fn from_diversion(request: &Message) -> Vec<Diversion> {
    let values = request.headers(Name::Diversion).flat_map(split_list);
    let read = values.filter_map(|value| {
        let address = NameAddr::parse(value)?;
        let reason = address.param("reason").unwrap_or_default();
        let privacy = address.param("privacy").unwrap_or("off");
        let is_withheld = !privacy.eq_ignore_ascii_case("off");
        diversion(&address, is_withheld, reason_named(reason))
    });
    let mut all: Vec<Diversion> = read.collect();
    all.reverse();
    all
}

/// RFC 7044 §5: the first stands on top. An entry was sent on from if it says why, or the next one does.
fn from_history(request: &Message) -> Vec<Diversion> {
    let values = request.headers(Name::HistoryInfo).flat_map(split_list);
    let entries: Vec<NameAddr<'_>> = values.filter_map(NameAddr::parse).collect();
    let read = entries.iter().enumerate().filter_map(|(i, entry)| {
        let said = embedded(entry.uri, "reason").and_then(|reason| cause_in(&reason));
        let next = entries.get(i + 1).and_then(|next| cause_param(next.uri));
        let privacy = embedded(entry.uri, "privacy").unwrap_or_default();
        let is_withheld = !privacy.is_empty() && !privacy.eq_ignore_ascii_case("none");
        diversion(entry, is_withheld, reason_of(next.or(said)?))
    });
    read.collect()
}

/// The cause in a Reason header's value.
fn cause_in(reason: &str) -> Option<u16> {
    let is_sip = reason.trim_start().get(..3);
    is_sip.filter(|protocol| protocol.eq_ignore_ascii_case("sip"))?;
    param(&reason[reason.find(';')?..], "cause")?.parse().ok()
}

fn cause_param(uri: &str) -> Option<u16> {
    Uri::parse(uri)?.param("cause")?.parse().ok()
}

/// A header that a URI holds, by its name in lower case.
fn embedded(uri: &str, name: &str) -> Option<String> {
    let (_, headers) = uri.split_once('?')?;
    headers.split('&').find_map(|header| {
        let (key, value) = header.split_once('=')?;
        let is_it = key.eq_ignore_ascii_case(name);
        is_it
            .then(|| percent_decode(value))
            .flatten()
            .map(Into::into)
    })
}

fn diversion(
    address: &NameAddr<'_>,
    is_withheld: bool,
    reason: DiversionReason,
) -> Option<Diversion> {
    let uri = Uri::parse(address.uri)?;
    let mut read = Diversion {
        number: shortened(&uri.number()?).into(),
        name: shortened(&address.display).into(),
        is_withheld: false,
        reason,
    };
    if is_withheld || is_anonymous(&uri) {
        withhold(&mut read);
    }
    Some(read)
}

fn withhold(diversion: &mut Diversion) {
    diversion.is_withheld = true;
    diversion.number = "".into();
    diversion.name = "".into();
}

fn is_anonymous(uri: &Uri<'_>) -> bool {
    uri.user.eq_ignore_ascii_case("anonymous")
}

fn shortened(text: &str) -> String {
    let text = text.chars().filter(|c| !c.is_control());
    text.take(CHARS_MAX).collect()
}

/// Who a REFER says has sent it.
pub(crate) fn referrer(refer: &Message) -> Option<Referrer> {
    let address = NameAddr::parse(refer.header(Name::ReferredBy)?)?;
    let uri = Uri::parse(address.uri).filter(|uri| !is_anonymous(uri))?;
    let number = shortened(&uri.number()?);
    let name = shortened(&address.display).into();
    (!number.is_empty()).then(|| Referrer {
        number: number.into(),
        name,
    })
}

/// The headers of a call to this number that say where it has been.
pub(crate) fn headers(cx: &ShimContext, history: &CallHistory, to: &str) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    if let Some(Referrer { number, name }) = &history.referred_by {
        let _ = write!(text, "Referred-By: {}\r\n", address(cx, number, name, ""));
    }
    for diversion in history.diversions.iter().rev() {
        let reason = name_of(diversion.reason);
        let Diversion { number, name, .. } = diversion;
        let _ = match diversion.is_withheld {
            true => write!(
                text,
                "Diversion: <{ANONYMOUS}>;privacy=full;reason={reason}\r\n"
            ),
            false => {
                let address = address(cx, number, name, "");
                write!(text, "Diversion: {address};reason={reason}\r\n")
            }
        };
    }
    if history.diversions.is_empty() {
        return text;
    }
    let mut index = String::new();
    let mut cause = String::new();
    for Diversion {
        number,
        name,
        is_withheld,
        reason,
    } in history.diversions.iter()
    {
        let entry = match is_withheld {
            true => format!("<{ANONYMOUS}{cause}?Privacy=history>"),
            false => address(cx, number, name, &cause),
        };
        write_entry(&mut text, &entry, &mut index);
        cause = format!(";cause={}", cause_of(*reason));
    }
    let entry = format!("<sip:{}@{}{cause}>", encoded(to), cx.host);
    write_entry(&mut text, &entry, &mut index);
    text
}

/// An entry below the one with this index, which is its own afterwards.
fn write_entry(text: &mut String, entry: &str, index: &mut String) {
    let from = match &**index {
        "" => String::new(),
        from => format!(";mp={from}"),
    };
    index.push_str(if index.is_empty() { "1" } else { ".1" });
    let _ = write!(text, "History-Info: {entry};index={index}{from}\r\n");
}

const REASONS: [(&str, u16, DiversionReason); 7] = [
    ("unconditional", 302, DiversionReason::Unconditional),
    ("user-busy", 486, DiversionReason::Busy),
    ("no-answer", 408, DiversionReason::NoAnswer),
    ("unavailable", 503, DiversionReason::Unreachable),
    ("deflection", 480, DiversionReason::Deflected),
    ("unknown", 404, DiversionReason::Other),
    ("time-of-day", 404, DiversionReason::TimeOfDay),
];

fn reason_named(name: &str) -> DiversionReason {
    let found = REASONS.iter().find(|(n, ..)| n.eq_ignore_ascii_case(name));
    found.map_or(DiversionReason::Other, |(.., reason)| *reason)
}

fn reason_of(cause: u16) -> DiversionReason {
    let found = REASONS
        .iter()
        .find(|(_, c, _)| *c == cause || *c == 480 && cause == 487);
    found.map_or(DiversionReason::Other, |(.., reason)| *reason)
}

fn name_of(reason: DiversionReason) -> &'static str {
    let found = REASONS.iter().find(|(.., r)| *r == reason);
    found.map_or("unknown", |(name, ..)| name)
}

fn cause_of(reason: DiversionReason) -> u16 {
    let found = REASONS.iter().find(|(.., r)| *r == reason);
    found.map_or(404, |(_, cause, _)| *cause)
}
