//! The call log over HTTP: a record for each leg that has ended, newest first, in pages; as JSON or CSV.
//!
//! Call control hands out the texts as they lie in the log; they are read and chosen here, on a thread
//! that may take its time. The command line makes CSV of the same rows (`commands/calls.rs`).
//!
//! Bounds: [`PAGE_MAX`] records a page; a page looks at no more than a node keeps in memory.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tandem_pbx::call_log::{self, LegDirection};
use tandem_pbx::seam::{AdminAnswer, AdminAsk};
use tandem_storage::name::Id;
use tandem_storage::seam::{Hlc, Stamp};
use tandem_storage::time::WallTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::bodies::{ErrorBody, Party};
use super::fault::{Fault, Json};
use super::{Answerer, blocking};

/// Records on a page, if nothing else is asked for.
const PAGE_DEFAULT: usize = 100;
/// At most.
pub(crate) const PAGE_MAX: usize = 1000;
/// Beside a page as CSV: where the next one begins.
const NEXT: &str = "tandem-next";

/// A leg that has ended.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CallRecord {
    /// node.epoch.number; null in records of earlier releases.
    pub(crate) leg: Option<String>,
    /// The call it belonged to, by the leg that began it: the same for all legs of a call, transferred
    /// ones included.
    pub(crate) call: Option<String>,
    /// What that call was called before it was joined with an older one; legs that had ended by then have
    /// that name.
    pub(crate) joined: Vec<String>,
    /// in: the party called; out: it was called.
    pub(crate) direction: String,
    /// The extension of the user whose line it was; null: none of this office, or withheld.
    pub(crate) user: Option<String>,
    /// Who called; empty if the number is withheld.
    pub(crate) from: Party,
    /// What was dialled.
    pub(crate) to: String,
    /// With whom it was connected last.
    pub(crate) with: Option<Party>,
    pub(crate) started: u64,
    pub(crate) answered: Option<u64>,
    pub(crate) ended: u64,
    /// From the answer to the end, rounded up.
    pub(crate) talked_s: u64,
    /// answered, mailbox, parked, transferred, service, busy, no_answer, unreachable, refused, cancelled,
    /// answered_elsewhere, no_such_number or failed.
    pub(crate) outcome: String,
    /// The trunk it went over; null: none.
    pub(crate) trunk: Option<String>,
    /// Why it ended, as in metrics.
    pub(crate) cause: String,
    /// What it went through, in order.
    pub(crate) through: Vec<Step>,
    /// The message that was left.
    pub(crate) message: Option<String>,
    /// If it was answered.
    pub(crate) codec: Option<String>,
    /// What was counted of its sound; null: there was none, or it is not known.
    pub(crate) quality: Option<Quality>,
}

/// A place a leg came to.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Step {
    pub(crate) at: u64,
    /// dial, group, talking, transferred, or what `tandem calls` calls it.
    pub(crate) what: String,
    /// Who was rung or talked with, or who transferred it.
    pub(crate) whom: Option<String>,
}

/// What was counted of a leg's sound.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Quality {
    pub(crate) packets_received: u64,
    /// On the way to this node; negative: duplicates.
    pub(crate) packets_lost: i64,
    pub(crate) packets_sent: u64,
    /// Interarrival jitter (RFC 3550).
    pub(crate) jitter_us: u32,
    /// By the party's last report; 0: there was none.
    pub(crate) round_trip_us: u32,
}

/// A page of the call log, newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CallLog {
    pub(crate) records: Vec<CallRecord>,
    /// Where the next page begins, to be given as `before`; null: this is the last.
    pub(crate) next: Option<String>,
}

/// Which records.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Of the lines of this user, by extension
    user: Option<String>,
    /// That ended at this time or later, in milliseconds since 1970
    since: Option<u64>,
    /// From the `next` of the page before
    before: Option<String>,
    /// So many at most: 1 to 1000, 100 if it is left out
    limit: Option<usize>,
}

pub(super) fn routes() -> OpenApiRouter<Answerer> {
    OpenApiRouter::new()
        .routes(routes!(call_log))
        .routes(routes!(call_log_csv))
}

/// The legs of calls that have ended
#[utoipa::path(
    get, path = "/calls/log", tag = "node", params(Which),
    responses(
        (status = 200, description = "A page of them", body = CallLog),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn call_log(
    State(answerer): State<Answerer>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<CallLog>, Fault> {
    Ok(Json(page(&answerer, asked(which)?).await?))
}

/// The same as a table
#[utoipa::path(
    get, path = "/calls/log.csv", tag = "node", params(Which),
    responses(
        (status = 200, description = "A page of them (RFC 4180); the header `tandem-next` has the next page's \
            `before`", body = String, content_type = "text/csv"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn call_log_csv(
    State(answerer): State<Answerer>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Response, Fault> {
    let page = page(&answerer, asked(which)?).await?;
    let mut table = csv_header();
    page.records
        .iter()
        .for_each(|record| table += &csv_row(record));
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (CONTENT_DISPOSITION, "attachment; filename=\"calls.csv\""),
    ];
    let mut answer = (headers, table).into_response();
    if let Some(next) = page.next.and_then(|next| HeaderValue::try_from(next).ok()) {
        answer.headers_mut().insert(NEXT, next);
    }
    Ok(answer)
}

fn asked(which: Result<Query<Which>, QueryRejection>) -> Result<Which, Fault> {
    let Query(which) = which.map_err(|e| Fault::new(StatusCode::BAD_REQUEST, e.body_text()))?;
    let limit = which.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        let error = format!("limit must be 1 to {PAGE_MAX}");
        return Err(Fault::new(StatusCode::BAD_REQUEST, error));
    }
    Ok(which)
}

async fn page(answerer: &Answerer, which: Which) -> Result<CallLog, Fault> {
    let limit = which.limit.unwrap_or(PAGE_DEFAULT);
    let since = WallTime(which.since.unwrap_or(0));
    let mut before = match which.before.as_deref().map(stamp) {
        None => None,
        Some(Some(stamp)) => Some(stamp),
        Some(None) => {
            let error = "before is not what a page says as next";
            return Err(Fault::new(StatusCode::BAD_REQUEST, error));
        }
    };
    let mut records = Vec::new();
    loop {
        let ask = AdminAsk::CallLog {
            user: which.user.as_deref().map(Into::into),
            since,
            before,
        };
        let AdminAnswer::CallLog(part) = answerer.ask_pbx(ask).await? else {
            return Err(Fault::internal("call control gave another answer"));
        };
        let (user, wanted) = (part.user, limit - records.len());
        let (mut found, at) = blocking(move || {
            let is_wanted = |record: &call_log::CallRecord| {
                record.ended >= since && user.is_none_or(|user| record.user() == Some(user))
            };
            let mut found = Vec::new();
            let mut at = None;
            for (stamp, body) in part.entries {
                at = Some(stamp);
                let record = call_log::CallRecord::parse(&body);
                found.extend(record.filter(is_wanted).map(row));
                if found.len() == wanted {
                    return Ok((found, at));
                }
            }
            Ok((found, at.filter(|_| !part.is_last)))
        })
        .await?;
        records.append(&mut found);
        before = at;
        if at.is_none() || records.len() == limit {
            let next = at.map(cursor);
            return Ok(CallLog { records, next });
        }
    }
}

/// A place in the log, as a page's end.
fn cursor(stamp: Stamp) -> String {
    let Stamp {
        hlc,
        node,
        epoch,
        seq,
    } = stamp;
    format!("{}-{node}.{epoch}.{seq}", hlc.0)
}

fn stamp(cursor: &str) -> Option<Stamp> {
    let (hlc, place) = cursor.split_once('-')?;
    let Id {
        node,
        epoch,
        number,
    } = place.parse().ok()?;
    Some(Stamp {
        hlc: Hlc(hlc.parse().ok()?),
        node,
        epoch,
        seq: number,
    })
}

/// A record as it is listed.
pub(crate) fn row(record: call_log::CallRecord) -> CallRecord {
    let name = |id: &Id| id.to_string();
    let party = |party: &call_log::Party| Party {
        number: Some(party.number.to_string()),
        name: Some(party.name.to_string()),
    };
    let through = record.through.iter().map(|step| Step {
        at: step.at.0,
        what: step.what.to_string(),
        whom: step.whom.as_deref().map(Into::into),
    });
    CallRecord {
        leg: record.leg.as_ref().map(name),
        call: record.call.as_ref().map(name),
        joined: record.joined.iter().map(name).collect(),
        direction: match record.direction {
            LegDirection::In => "in",
            LegDirection::Out => "out",
        }
        .into(),
        user: match record.leg {
            Some(_) => record.extension.as_deref().map(Into::into),
            // The number a user gave was its extension.
            None => record.from.user.map(|_| record.from.number.to_string()),
        },
        from: party(&record.from),
        to: record.to.to_string(),
        with: record.with.as_ref().map(party),
        started: record.started.0,
        answered: record.answered.map(|at| at.0),
        ended: record.ended.0,
        talked_s: record.talked_s(),
        outcome: record.outcome().as_str().into(),
        trunk: record.trunk.as_deref().map(Into::into),
        cause: record.cause.to_string(),
        through: through.collect(),
        message: record.message.as_ref().map(name),
        codec: record.codec.as_deref().map(Into::into),
        quality: record.quality.map(|quality| Quality {
            packets_received: quality.packets_received,
            packets_lost: quality.packets_lost,
            packets_sent: quality.packets_sent,
            jitter_us: quality.jitter_us,
            round_trip_us: quality.round_trip_us,
        }),
    }
}

/// The columns of the table.
const COLUMNS: [&str; 25] = [
    "leg",
    "call",
    "joined",
    "direction",
    "user",
    "from_number",
    "from_name",
    "to",
    "with_number",
    "with_name",
    "started",
    "answered",
    "ended",
    "talked_s",
    "outcome",
    "cause",
    "through",
    "message",
    "codec",
    "packets_received",
    "packets_lost",
    "packets_sent",
    "jitter_us",
    "round_trip_us",
    "trunk",
];

/// The table's first line.
pub(crate) fn csv_header() -> String {
    COLUMNS.join(",") + "\r\n"
}

/// A line of it.
pub(crate) fn csv_row(record: &CallRecord) -> String {
    let with = |part: fn(&Party) -> &Option<String>| {
        let with = record.with.as_ref().and_then(|with| part(with).clone());
        with.unwrap_or_default()
    };
    let through = record.through.iter().map(|step| match &step.whom {
        Some(whom) => format!("{} {whom}", step.what),
        None => step.what.clone(),
    });
    let through: Vec<String> = through.collect();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let quality = record.quality.as_ref();
    let figure = |part: fn(&Quality) -> String| quality.map(part).unwrap_or_default();
    let cells = [
        text(&record.leg),
        text(&record.call),
        record.joined.join(" "),
        record.direction.clone(),
        text(&record.user),
        text(&record.from.number),
        text(&record.from.name),
        record.to.clone(),
        with(|party| &party.number),
        with(|party| &party.name),
        time(Some(record.started)),
        time(record.answered),
        time(Some(record.ended)),
        record.talked_s.to_string(),
        record.outcome.clone(),
        record.cause.clone(),
        through.join("; "),
        text(&record.message),
        text(&record.codec),
        figure(|quality| quality.packets_received.to_string()),
        figure(|quality| quality.packets_lost.to_string()),
        figure(|quality| quality.packets_sent.to_string()),
        figure(|quality| quality.jitter_us.to_string()),
        figure(|quality| quality.round_trip_us.to_string()),
        text(&record.trunk),
    ];
    let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
    cells.join(",") + "\r\n"
}

/// As it stands between commas (RFC 4180). Names are chosen by callers: a spreadsheet is not to take one
/// for a formula.
fn cell(text: &str) -> String {
    let rest = text.as_bytes().get(1..).unwrap_or_default();
    let is_number = !rest.is_empty() && rest.iter().all(u8::is_ascii_digit);
    let is_formula = match text.bytes().next() {
        Some(b'=' | b'@' | b'\t' | b'\r') => true,
        Some(b'+' | b'-') => !is_number,
        _ => false,
    };
    let text = match is_formula {
        true => format!("'{text}"),
        false => text.to_owned(),
    };
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

/// In universal time (RFC 3339).
fn time(ms: Option<u64>) -> String {
    let at = ms.and_then(|ms| jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok());
    at.map_or(String::new(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pages_end_is_read_back() {
        let end = Stamp {
            hlc: Hlc(117_661_000_000),
            node: "head-office".parse().unwrap(),
            epoch: 7,
            seq: 912,
        };
        assert_eq!(stamp(&cursor(end)), Some(end));
        for wrong in ["", "-", "7-", "x-a.1.2", "7-a.1", "7"] {
            assert_eq!(stamp(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_name_is_no_formula_and_breaks_no_line() {
        assert_eq!(cell("+4989123"), "+4989123");
        assert_eq!(cell("-5"), "-5");
        assert_eq!(cell("=1+1"), "'=1+1");
        assert_eq!(cell("+1+1"), "'+1+1");
        assert_eq!(cell("@x"), "'@x");
        assert_eq!(cell("Smith, \"J\""), "\"Smith, \"\"J\"\"\"");
        assert_eq!(cell("a\r\nb"), "\"a\r\nb\"");
        assert_eq!(cell("é"), "é");
    }

    #[test]
    fn every_column_has_its_cell() {
        let body = r#"{"leg":"a.1.2","call":"a.1.1","direction":"out","user":"a.1.9","extension":"102",
            "from":{"number":"101","name":"Reception, front","user":null},"to":"102",
            "started":1000,"answered":2000,"ended":5000,"cause":"normal","outcome":"answered","trunk":"carrier",
            "through":[{"at":2000,"what":"talking","whom":"101"}],"codec":"PCMA",
            "quality":{"packets_received":150,"packets_lost":-1,"packets_sent":151,"jitter_us":90,
            "round_trip_us":0}}"#;
        let record = row(call_log::CallRecord::parse(body).unwrap());
        assert_eq!(
            csv_row(&record),
            "a.1.2,a.1.1,,out,102,101,\"Reception, front\",102,,,1970-01-01T00:00:01Z,\
             1970-01-01T00:00:02Z,1970-01-01T00:00:05Z,3,answered,normal,talking 101,,PCMA,150,-1,151,90,0,carrier\r\n"
        );
        let header = csv_header();
        let columns = header.trim_end().split(',').count();
        let plain = csv_row(&record).replace("Reception, front", "Reception");
        assert_eq!(plain.trim_end().split(',').count(), columns);
    }
}
