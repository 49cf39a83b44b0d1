//! TLS between nodes: version 1.3 only, both sides with certificates of the cluster's authority.
//!
//! One port serves two protocols, told apart by ALPN (RFC 7301): the link, for members, and joining,
//! where the one who comes has no certificate yet and shows a secret instead (`join.rs`).
//!
//! The wall clock is not asked: a machine whose clock has lost its time must reach the others all
//! the same, and who is a member is not a matter of dates (`ca.rs`). Sessions are not resumed: a link
//! lives for weeks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{Resumption, verify_server_name};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::{
    Acceptor, NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier,
};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, client, server};

use super::ca::{Fingerprint, fingerprint, server_name};
use super::site::{Site, SiteError};
use crate::name::NodeName;

const LINK: &[u8] = b"tandem-link/1";
const JOIN: &[u8] = b"tandem-join/1";

/// 2026-01-01: inside the life of every certificate of ours.
const DATE: Duration = Duration::from_secs(1_767_225_600);

/// What this node shows and whom it believes.
#[derive(Clone)]
pub(super) struct Tls {
    link: Arc<ServerConfig>,
    join: Arc<ServerConfig>,
    dial: TlsConnector,
}

/// Who has come.
pub(super) enum Accepted {
    /// Somebody with a certificate of the cluster.
    Link(Box<server::TlsStream<TcpStream>>, Fingerprint),
    /// Somebody who wants one.
    Join(Box<server::TlsStream<TcpStream>>),
}

impl Tls {
    pub(super) fn new(site: &Site) -> Result<Tls, SiteError> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(site.root()?)?;
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|e| rustls::Error::General(e.to_string()))?;
        let (cert, key) = site.identity()?;
        let mut link = ServerConfig::builder_with_details(provider.clone(), Arc::new(Always))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![cert.clone()], key.clone_key())?;
        serve(&mut link, LINK);
        let mut join = ServerConfig::builder_with_details(provider.clone(), Arc::new(Always))
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![cert.clone()], key.clone_key())?;
        serve(&mut join, JOIN);
        let mut dial = ClientConfig::builder_with_details(provider, Arc::new(Always))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![cert], key)?;
        dial.alpn_protocols = vec![LINK.to_vec()];
        dial.resumption = Resumption::disabled();
        Ok(Tls {
            link: Arc::new(link),
            join: Arc::new(join),
            dial: TlsConnector::from(Arc::new(dial)),
        })
    }

    /// Shakes hands with whoever has come.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<Accepted> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let hello = start.client_hello();
        let joins = hello
            .alpn()
            .is_some_and(|mut names| names.any(|name| name == JOIN));
        if joins {
            let stream = start.into_stream(self.join.clone()).await?;
            return Ok(Accepted::Join(Box::new(stream)));
        }
        let stream = start.into_stream(self.link.clone()).await?;
        let certs = stream.get_ref().1.peer_certificates();
        let shown = shown(certs)?;
        Ok(Accepted::Link(Box::new(stream), shown))
    }

    /// Shakes hands with `node`, whose connection this is said to be.
    pub(super) async fn dial(
        &self,
        stream: TcpStream,
        node: NodeName,
    ) -> io::Result<(client::TlsStream<TcpStream>, Fingerprint)> {
        let name = ServerName::try_from(server_name(node)).map_err(io::Error::other)?;
        let stream = self.dial.connect(name, stream).await?;
        let shown = shown(stream.get_ref().1.peer_certificates())?;
        Ok((stream, shown))
    }
}

/// Shakes hands to join: only with the one whose certificate has this SHA-256.
pub(super) async fn dial_to_join(
    stream: TcpStream,
    sha256: [u8; 32],
) -> io::Result<client::TlsStream<TcpStream>> {
    let provider = Arc::new(ring::default_provider());
    let pinned = Arc::new(Pinned {
        sha256,
        provider: provider.clone(),
    });
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(Always))
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(pinned)
        .with_no_client_auth();
    config.alpn_protocols = vec![JOIN.to_vec()];
    let name = ServerName::try_from("join.tandem.internal").map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// The certificate shown on this connection is one that this node was given once.
pub(super) fn is_named(stream: &server::TlsStream<TcpStream>, node: NodeName) -> bool {
    let certs = stream.get_ref().1.peer_certificates();
    let cert = certs.and_then(|certs| ParsedCertificate::try_from(certs.first()?).ok());
    let name = ServerName::try_from(server_name(node)).ok();
    cert.zip(name)
        .is_some_and(|(cert, name)| verify_server_name(&cert, &name).is_ok())
}

fn serve(config: &mut ServerConfig, protocol: &[u8]) {
    config.alpn_protocols = vec![protocol.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
}

fn shown(certs: Option<&[CertificateDer<'static>]>) -> io::Result<Fingerprint> {
    let cert = certs.and_then(<[_]>::first);
    let cert = cert.ok_or_else(|| io::Error::other("no certificate was shown"))?;
    Ok(fingerprint(cert))
}

/// It is always the same day.
#[derive(Debug)]
struct Always;

impl TimeProvider for Always {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(DATE))
    }
}

/// Believes in one certificate.
#[derive(Debug)]
struct Pinned {
    sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(end_entity).into();
        if shown == self.sha256 {
            return Ok(ServerCertVerified::assertion());
        }
        let why = "the node there is not the one that made the token";
        Err(rustls::Error::General(why.into()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
