//! On which server a new tenant's data is placed. Once placed, a tenant stays.

/// A server, as placement sees it.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// The DatabaseServer's name.
    pub name: &'a str,
    /// Its region.
    pub region: Option<&'a str>,
    /// How many tenants it may hold.
    pub capacity: u32,
    /// How many it holds or is about to hold.
    pub tenants: u32,
    /// Whether it can be worked with now.
    pub reachable: bool,
}

/// Why there is no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// There is no server at all, or none in the region.
    #[error("there is no DatabaseServer{}: an admin has to add one", in_region(.region))]
    NoDatabaseServer {
        /// The tenant's region.
        region: Option<String>,
    },
    /// All are full.
    #[error("every DatabaseServer{} is full: an admin has to raise spec.capacity.tenants of one, or add another", in_region(.region))]
    DatabaseServersFull {
        /// The tenant's region.
        region: Option<String>,
    },
    /// Those with room can't be reached.
    #[error("no DatabaseServer{} with room can be reached; `kubectl get databaseservers -o wide` says why", in_region(.region))]
    DatabaseServersUnreachable {
        /// The tenant's region.
        region: Option<String>,
    },
}

fn in_region(region: &Option<String>) -> String {
    region.as_ref().map_or_else(String::new, |region| format!(" in region {region}"))
}

/// The server of the region that is least full; of equals, the first by name.
///
/// # Errors
/// Where there is none, none with room, or none with room that can be reached.
pub fn choose<'a>(candidates: &[Candidate<'a>], region: Option<&str>) -> Result<&'a str, PlacementError> {
    let region_of_error = || region.map(str::to_owned);
    let mut near: Vec<_> = candidates.iter().filter(|c| region.is_none() || c.region == region).collect();
    if near.is_empty() {
        return Err(PlacementError::NoDatabaseServer { region: region_of_error() });
    }
    near.retain(|c| c.tenants < c.capacity);
    if near.is_empty() {
        return Err(PlacementError::DatabaseServersFull { region: region_of_error() });
    }
    near.retain(|c| c.reachable);
    // The shares tenants/capacity are compared without division, so that none is lost to rounding.
    near.into_iter()
        .min_by(|a, b| {
            (u64::from(a.tenants) * u64::from(b.capacity)).cmp(&(u64::from(b.tenants) * u64::from(a.capacity))).then(a.name.cmp(b.name))
        })
        .map(|c| c.name)
        .ok_or(PlacementError::DatabaseServersUnreachable { region: region_of_error() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server<'a>(name: &'a str, region: Option<&'a str>, tenants: u32, capacity: u32) -> Candidate<'a> {
        Candidate { name, region, capacity, tenants, reachable: true }
    }

    #[test]
    fn the_least_full_server_of_the_region_is_chosen() {
        let servers = [server("a", Some("eu"), 5, 10), server("b", Some("eu"), 9, 100), server("c", Some("us"), 0, 10)];
        assert_eq!(choose(&servers, Some("eu")), Ok("b"));
        assert_eq!(choose(&servers, None), Ok("c"));
    }

    #[test]
    fn the_error_says_what_is_missing() {
        let full = [server("a", Some("eu"), 10, 10)];
        assert!(matches!(choose(&full, Some("us")), Err(PlacementError::NoDatabaseServer { .. })));
        assert!(matches!(choose(&full, Some("eu")), Err(PlacementError::DatabaseServersFull { .. })));
        let down = [Candidate { reachable: false, ..server("a", None, 0, 1) }];
        assert!(matches!(choose(&down, None), Err(PlacementError::DatabaseServersUnreachable { .. })));
    }
}
