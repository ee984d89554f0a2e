//! Short digests that tell whether two things are the same.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Sixteen hexadecimal digits of the SHA-256 of the value's JSON. The same value gives the same digest in every version of this program
/// that serialises it alike.
pub fn of(value: &impl Serialize) -> String {
    let mut hasher = Sha256::new();
    // Writing into a hasher can't fail, and all that is digested here has string keys.
    let _ = serde_json::to_writer(Writer(&mut hasher), value);
    hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

struct Writer<'a>(&'a mut Sha256);

impl std::io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_digest_is_stable() {
        assert_eq!(super::of(&serde_json::json!({"b": 1, "a": 2})), super::of(&serde_json::json!({"a": 2, "b": 1})));
        assert_eq!(super::of(&"acme").len(), 16);
    }
}
