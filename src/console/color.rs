//! Whether text on a colour, or in it, can be read, by [WCAG 2.2](https://www.w3.org/TR/WCAG22/#contrast-minimum), and the nearest colour on which it can.

use std::fmt;

/// The least contrast of text of usual size.
const READABLE: f64 = 4.5;
/// Halvings until the colour doesn't change any more.
const STEPS: usize = 16;

/// A colour of a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color([u8; 3]);

impl Color {
    const WHITE: Self = Self([255; 3]);
    /// A grey, where none is chosen.
    pub const UNDECIDED: Self = Self([0x5f; 3]);

    /// From `#0a5c36`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits =
            text.trim().strip_prefix('#').filter(|digits| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let part = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
        Some(Self([part(0)?, part(2)?, part(4)?]))
    }

    /// Its relative luminance.
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(linear);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// From 1, of a colour with itself, to 21, of black with white.
    fn contrast(self, other: Self) -> f64 {
        let (one, other) = (self.luminance(), other.luminance());
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// Whether white text on it can be read, and it as text on white.
    pub fn is_readable(self) -> bool {
        self.contrast(Self::WHITE) >= READABLE
    }

    /// The lightest colour of the same hue that is readable; itself, where it is.
    pub fn readable(self) -> Self {
        if self.is_readable() {
            return self;
        }
        let (mut dark, mut light) = (0.0, 1.0);
        for _ in 0..STEPS {
            let middle = f64::midpoint(dark, light);
            if self.dimmed(middle).is_readable() { dark = middle } else { light = middle }
        }
        self.dimmed(dark)
    }

    /// With so much of its light.
    fn dimmed(self, share: f64) -> Self {
        Self(self.0.map(|part| encoded(linear(part) * share)))
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

/// The light of an encoded part, from 0 to 1; see [sRGB](https://www.w3.org/TR/WCAG22/#dfn-relative-luminance).
fn linear(part: u8) -> f64 {
    let part = f64::from(part) / 255.0;
    if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
}

/// The other way round, rounded down, so that what is readable stays so.
fn encoded(light: f64) -> u8 {
    let part = if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
    // From 0 to 255 by what went in.
    (part * 255.0).clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn contrasts_are_those_of_the_specification() {
        let color = |text: &str| Color::parse(text).unwrap();
        assert!((color("#000000").contrast(Color::WHITE) - 21.0).abs() < 1e-9);
        assert!(color("#767676").is_readable() && !color("#777777").is_readable(), "the well-known border among greys");
        assert!(color("#0a5c36").is_readable() && !color("#f2b705").is_readable());
        for nonsense in ["", "#", "0a5c36", "#0a5c3", "#0a5c366", "#0a5c3g", "#äöü", "red"] {
            assert_eq!(Color::parse(nonsense), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn every_color_has_a_readable_one_near(parts in any::<[u8; 3]>()) {
            let color = Color(parts);
            let near = color.readable();
            prop_assert!(near.is_readable());
            prop_assert_eq!(color.is_readable(), near == color);
            prop_assert_eq!(Color::parse(&near.to_string()), Some(near));
        }
    }
}
