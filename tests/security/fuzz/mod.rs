//! Everything that parses, fed with what nobody would write: no panic, bounded time and size, and whatever passes is harmless where it goes. Needs
//! neither cluster nor database, but for the names that Postgres is given.

mod comments;
#[path = "../../support/fuzzing.rs"]
mod fuzzing;
#[path = "../../instance/generate.rs"]
#[allow(dead_code)] // the other binary uses the rest
mod generate;
mod hostile;
mod manifests;
mod names;
mod templates;
mod yaml;

use fuzzing::fuzz;
