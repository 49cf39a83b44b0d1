//! Addresses: URIs, name-addrs, Via hops, and the lists and parameters they come in.
//!
//! All borrow from the message they were read from. Nothing here decodes more than it is asked
//! for: a URI is compared and sent back as it was written (RFC 3261 §19.1, §20.10, §20.42).

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use crate::wire::Transport;

/// A URI, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    pub scheme: Scheme,
    /// Before the `@`, as written; a tel: URI's number.
    pub user: &'a str,
    /// Name or address, IPv6 in brackets; empty for tel:.
    pub host: &'a str,
    /// If it names one.
    pub port: Option<u16>,
    /// From the first `;` after the host on, without `?headers`.
    pub params: &'a str,
}

/// URI parameters that make two addresses different if only one of them has it.
const MATTERING_PARAMS: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

/// Kinds of URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:` (RFC 3966)
    Tel,
    /// Anything else.
    Other,
}

/// What From, To, Contact, Route … hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// Display name, unquoted; may be empty.
    pub display: Cow<'a, str>,
    /// The URI, without angle brackets.
    pub uri: &'a str,
    /// From the first `;` behind it on.
    pub params: &'a str,
}

/// One hop of a Via header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// As in `UDP`.
    pub transport: &'a str,
    /// Host and perhaps port, as written.
    pub sent_by: &'a str,
    /// Host alone.
    pub host: &'a str,
    /// Port, if it names one.
    pub port: Option<u16>,
    /// From the first `;` on.
    pub params: &'a str,
}

impl<'a> Uri<'a> {
    /// Reads a URI. `None`: it is not one.
    pub fn parse(text: &'a str) -> Option<Uri<'a>> {
        let (scheme, rest) = text.split_once(':')?;
        if text
            .bytes()
            .any(|b| b <= b' ' || matches!(b, b'<' | b'>' | b'"'))
        {
            return None;
        }
        let scheme = Scheme::parse(scheme)?;
        match scheme {
            Scheme::Sip | Scheme::Sips => Uri::parse_sip(scheme, rest),
            Scheme::Tel => {
                let (user, params) = split_at(rest, ';');
                let legal = |b: u8| b.is_ascii_alphanumeric() || b"+-.()*#".contains(&b);
                let tel = Uri {
                    scheme,
                    user,
                    host: "",
                    port: None,
                    params,
                };
                (!user.is_empty() && user.bytes().all(legal)).then_some(tel)
            }
            Scheme::Other => Some(Uri {
                scheme,
                user: "",
                host: "",
                port: None,
                params: "",
            }),
        }
    }

    fn parse_sip(scheme: Scheme, rest: &'a str) -> Option<Uri<'a>> {
        // An '@' may stand only before the host: unescaped ones in headers are not allowed.
        let (before_headers, _) = split_at(rest, '?');
        let (user, host) = match before_headers.rsplit_once('@') {
            Some((user, host)) if !user.is_empty() => (user, host),
            Some(_) => return None,
            None => ("", before_headers),
        };
        let (host, params) = split_at(host, ';');
        let (host, port) = parse_host_port(host)?;
        Some(Uri {
            scheme,
            user: split_at(user, ':').0,
            host,
            port,
            params,
        })
    }

    /// One parameter's value; empty if it has none.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        param(self.params, name)
    }

    /// Where it points, if it names an address and not a host that one would have to look up.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        let tls = self.scheme == Scheme::Sips;
        let port = self.port.unwrap_or(if tls { 5061 } else { 5060 });
        Some(SocketAddr::new(
            parse_ip(self.param("maddr").unwrap_or(self.host))?,
            port,
        ))
    }

    /// The transport it asks for.
    pub fn transport(&self) -> Option<Transport> {
        match self.param("transport")? {
            t if t.eq_ignore_ascii_case("tcp") => Some(Transport::Tcp),
            t if t.eq_ignore_ascii_case("udp") => Some(Transport::Udp),
            _ => None,
        }
    }

    /// What was dialled: the user part without its parameters, decoded. `None`: not text.
    pub fn number(&self) -> Option<Cow<'a, str>> {
        let user = split_at(self.user, ';').0;
        if self.scheme == Scheme::Tel {
            return Some(user.replace(['-', '.', '(', ')'], "").into());
        }
        percent_decode(user)
    }

    /// Are both the same address? (RFC 3261 §19.1.4.)
    pub fn same_as(&self, other: &Uri<'_>) -> bool {
        self.scheme == other.scheme
            && self.user == other.user
            && self.host.eq_ignore_ascii_case(other.host)
            && self.port == other.port
            && self.same_params(other)
    }

    /// A parameter that both have must be the same in both; some must be in both or in neither.
    fn same_params(&self, other: &Uri<'_>) -> bool {
        let same = |name: &str| match (self.param(name), other.param(name)) {
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
            (None, None) => true,
            _ => !MATTERING_PARAMS
                .iter()
                .any(|p| name.eq_ignore_ascii_case(p)),
        };
        let names = |params: &'a str| {
            let pieces = params.split(';').map(str::trim);
            pieces.map(|p| p.split('=').next().unwrap_or_default().trim())
        };
        names(self.params).filter(|n| !n.is_empty()).all(same)
            && MATTERING_PARAMS.iter().all(|name| same(name))
    }
}

impl Scheme {
    fn parse(name: &str) -> Option<Scheme> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
        if name.is_empty() || !name.bytes().all(legal) {
            return None;
        }
        Some(match name {
            n if n.eq_ignore_ascii_case("sip") => Scheme::Sip,
            n if n.eq_ignore_ascii_case("sips") => Scheme::Sips,
            n if n.eq_ignore_ascii_case("tel") => Scheme::Tel,
            _ => Scheme::Other,
        })
    }
}

impl<'a> NameAddr<'a> {
    /// Reads one, in either form: `"Name" <uri>;params` or `uri;params`.
    pub fn parse(text: &'a str) -> Option<NameAddr<'a>> {
        let text = text.trim();
        let (display, rest) = if let Some(quoted) = text.strip_prefix('"') {
            let end = closing_quote(quoted)?;
            (unquote(&quoted[..end]), quoted[end + 1..].trim_start())
        } else if let Some(open) = text.find('<') {
            (Cow::Borrowed(text[..open].trim()), &text[open..])
        } else {
            // Without brackets, parameters are the header's, not the URI's (§20).
            let (uri, params) = split_at(text, ';');
            return NameAddr {
                display: "".into(),
                uri: uri.trim_end(),
                params,
            }
            .checked();
        };
        let (uri, params) = rest.strip_prefix('<')?.split_once('>')?;
        let params = params.trim_start();
        if !params.is_empty() && !params.starts_with(';') {
            return None;
        }
        NameAddr {
            display,
            uri: uri.trim(),
            params,
        }
        .checked()
    }

    fn checked(self) -> Option<NameAddr<'a>> {
        (!self.uri.is_empty()).then_some(self)
    }

    /// One parameter's value; empty if it has none.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        param(self.params, name)
    }

    /// The tag, if it has one.
    pub fn tag(&self) -> Option<&'a str> {
        self.param("tag").filter(|t| !t.is_empty())
    }
}

impl<'a> Via<'a> {
    /// Reads the first hop of a Via value.
    pub fn parse(text: &'a str) -> Option<Via<'a>> {
        let text = split_list(text).next()?;
        // LWS is allowed around the slashes.
        let (name, rest) = text.split_once('/')?;
        let (version, rest) = rest.split_once('/')?;
        if !name.trim().eq_ignore_ascii_case("SIP") || !is_version(version.trim()) {
            return None;
        }
        let (transport, rest) = rest.trim_start().split_once([' ', '\t'])?;
        let (sent_by, params) = split_at(rest.trim(), ';');
        let sent_by = sent_by.trim_end();
        let (host, port) = parse_host_port(sent_by)?;
        let legal = !transport.is_empty() && transport.bytes().all(crate::message::is_token);
        legal.then_some(Via {
            transport,
            sent_by,
            host,
            port,
            params,
        })
    }

    /// The branch; empty if there is none.
    pub fn branch(&self) -> &'a str {
        param(self.params, "branch").unwrap_or_default()
    }
}

/// A request of another version is answered 505 by way of its Vias, so theirs may be any.
fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// A parameter of `;a=b;c` by name; empty if it has no value. Quotes around the value are removed.
pub fn param<'a>(params: &'a str, name: &str) -> Option<&'a str> {
    split_outside_quotes(params, b';').find_map(|p| {
        let (key, value) = p.split_once('=').unwrap_or((p, ""));
        let value = value.trim();
        let bare = value
            .strip_prefix('"')
            .and_then(|v| v.strip_suffix('"'))
            .unwrap_or(value);
        key.trim().eq_ignore_ascii_case(name).then_some(bare)
    })
}

/// The items of a comma-separated list; commas within quotes or angle brackets part nothing.
pub fn split_list(text: &str) -> impl Iterator<Item = &str> {
    split_outside_quotes(text, b',')
        .map(str::trim)
        .filter(|t| !t.is_empty())
}

fn split_outside_quotes(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let it = rest?;
        let end = find_outside_quotes(it, separator);
        rest = end.map(|e| &it[e + 1..]);
        Some(&it[..end.unwrap_or(it.len())])
    })
}

fn find_outside_quotes(text: &str, separator: u8) -> Option<usize> {
    let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
    for (i, b) in text.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => bracketed = true,
            b'>' if !quoted => bracketed = false,
            _ if b == separator && !quoted && !bracketed => return Some(i),
            _ => {}
        }
    }
    None
}

/// `text` before `mark`, and from it on.
fn split_at(text: &str, mark: char) -> (&str, &str) {
    text.split_at(text.find(mark).unwrap_or(text.len()))
}

fn parse_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.rfind(']') {
        Some(end) => (&text[..=end], text[end + 1..].strip_prefix(':')),
        None => match text.split_once(':') {
            Some((host, port)) => (host.trim_end(), Some(port.trim_start())),
            None => (text, None),
        },
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let is_name = !host.is_empty() && host.bytes().all(legal);
    if !is_name && (!host.starts_with('[') || parse_ip(host).is_none()) {
        return None;
    }
    let port = port.map(|p| p.parse::<u16>().ok().filter(|p| *p != 0));
    match port {
        Some(None) => None,
        Some(port) => Some((host, port)),
        None => Some((host, None)),
    }
}

/// An address in either family, IPv6 with or without brackets.
pub fn parse_ip(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host)
        .parse()
        .ok()
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (i, b) in text.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(i),
            _ => {}
        }
    }
    None
}

fn unquote(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut escaped = false;
    let keep = |c: &char| {
        escaped = *c == '\\' && !escaped;
        !escaped
    };
    Cow::Owned(text.chars().filter(keep).collect())
}

pub(crate) fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        // Two digits below 16 each make a byte.
        out.push((digit()? * 16 + digit()?) as u8);
    }
    String::from_utf8(out)
        .ok()
        .filter(|s| !s.contains('\0'))
        .map(Cow::Owned)
}

#[cfg(test)]
mod tests;
