//! A login's name and password. The password never leaves this process in clear: the server is given a SCRAM verifier.

use sha2::{Digest, Sha256};
use std::fmt;

/// Enough for 190 bits, so that no digest of a password helps to guess it.
const PASSWORD_LENGTH: usize = 32;

/// A login role and its password.
#[derive(Clone)]
pub struct Login {
    /// The role.
    pub name: String,
    /// Its password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Login {
    /// What the server stores instead of the password; see [RFC 5803](https://www.rfc-editor.org/rfc/rfc5803).
    pub fn verifier(&self) -> String {
        postgres_protocol::password::scram_sha_256(self.password.as_bytes())
    }

    /// Tells one password from another and is safe to publish, because passwords are long and random.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(format!("tenantry login {} {}", self.name, self.password));
        digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A new password: letters and digits, so that it needs no escape in a URL.
pub fn generate_password() -> String {
    crate::random::letters(PASSWORD_LENGTH)
}

/// Whether it has the form of those that [`generate_password`] makes.
pub fn is_password(text: &str) -> bool {
    text.len() >= PASSWORD_LENGTH && text.len() <= 128 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_shows_no_password() {
        let login = Login { name: "tenant_acme.1".into(), password: generate_password() };
        assert!(!format!("{login:?} {} {}", login.verifier(), login.fingerprint()).contains(&login.password));
        assert!(login.verifier().starts_with("SCRAM-SHA-256$4096:"));
        assert!(is_password(&login.password) && !is_password("short") && !is_password(&format!("{}@", login.password)));
    }
}
