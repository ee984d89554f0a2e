//! Secrets by chance: the one place that draws them.

use rand::RngExt;
use rand::distr::Alphanumeric;

/// So many letters and digits, by a generator that is fit for secrets. Each tells 5.95 bits, and none needs an escape in a URL or a shell.
pub fn letters(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn letters_are_as_many_as_asked_for_and_others_each_time() {
        let (one, other) = (super::letters(50), super::letters(50));
        assert!(one.len() == 50 && one.bytes().all(|byte| byte.is_ascii_alphanumeric()) && one != other);
    }
}
