//! The cluster's own certificate authority: makes itself, and signs the certificates of nodes.
//!
//! A certificate says only that whoever holds its key was let in once, under which name. Whether
//! the node is still a member is a register in the log (`members.rs`); taking it away there is what
//! removes a node. So certificates have no end (RFC 5280 §4.1.2.5: 99991231235959Z): a telephone
//! system that stops because a date has passed helps nobody.
//!
//! Every node holds the authority's key, for none may be missed when another one joins. It is in a
//! file of mode 0600 beside the node's own and never in the log.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use sha2::{Digest, Sha256};

use super::site::SiteError;
use crate::name::NodeName;

/// A certificate or key as a file holds it.
pub(super) type Pem = String;

/// What names a certificate: SHA-256 over its DER form, in lower-case hex.
pub(super) type Fingerprint = String;

/// The cluster's certificate authority.
#[derive(Debug)]
pub(super) struct Ca {
    cert: Pem,
    issuer: Issuer<'static, KeyPair>,
}

/// A new node's own key, and what it asks the authority to sign.
#[derive(Debug)]
pub(super) struct NodeKey {
    /// Private.
    pub(super) key: Pem,
    /// The request: public.
    pub(super) request: Pem,
}

impl Ca {
    /// A new one. Also gives its private key, to be kept.
    pub(super) fn make() -> Result<(Ca, Pem), SiteError> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(9999, 12, 31);
        params.distinguished_name.push(DnType::CommonName, "Tandem");
        let key = KeyPair::generate()?;
        let cert = params.self_signed(&key)?.pem();
        let key_pem = key.serialize_pem();
        let issuer = Issuer::new(params, key);
        Ok((Ca { cert, issuer }, key_pem))
    }

    /// As it was kept.
    pub(super) fn read(cert: Pem, key: &str) -> Result<Ca, SiteError> {
        let issuer = Issuer::from_ca_cert_pem(&cert, KeyPair::from_pem(key)?)?;
        Ok(Ca { cert, issuer })
    }

    /// Its certificate.
    pub(super) fn cert(&self) -> &str {
        &self.cert
    }

    /// A certificate over the key in `request`, whatever else it asks for, in the name of `node`.
    pub(super) fn sign(&self, node: NodeName, request: &str) -> Result<Pem, SiteError> {
        let asked = CertificateSigningRequestParams::from_pem(request)?;
        let mut params = CertificateParams::new([server_name(node)])?;
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(9999, 12, 31);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let name = node.as_str();
        params.distinguished_name.push(DnType::CommonName, name);
        Ok(params.signed_by(&asked.public_key, &self.issuer)?.pem())
    }
}

impl NodeKey {
    /// A new one.
    pub(super) fn make() -> Result<NodeKey, SiteError> {
        let key = KeyPair::generate()?;
        let request = CertificateParams::default()
            .serialize_request(&key)?
            .pem()?;
        let key = key.serialize_pem();
        Ok(NodeKey { key, request })
    }
}

/// The name a node's certificate bears. Below `internal`, which no public authority vouches for
/// (ICANN board resolution 2024.07.29.06).
pub(super) fn server_name(node: NodeName) -> String {
    format!("{node}.tandem.internal")
}

/// Of a certificate in DER form.
pub(super) fn fingerprint(der: &[u8]) -> Fingerprint {
    hex(&Sha256::digest(der))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
