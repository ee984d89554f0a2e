//! Who has to act, and what to do next, for each reason that a tenant's `Ready` can have. docs/operations.md says more of each.

/// What to do about a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Advice {
    /// Who can mend it: nobody has to, where it passes by itself.
    who: &'static str,
    /// What to do, with `NAME` for the tenant's.
    next: &'static str,
}

impl Advice {
    /// Who can mend it.
    pub fn who(&self) -> &'static str {
        self.who
    }

    /// Whether somebody has to act.
    pub fn needs_somebody(&self) -> bool {
        [ADMIN, AUTHOR, DEVELOPER].contains(&self.who)
    }

    /// What it means for somebody who knows customers, and neither the platform nor the product.
    pub fn plainly(&self) -> &'static str {
        match self.who {
            ADMIN => "The platform isn't ready for this customer. Nothing that was filled in is wrong.",
            DEVELOPER => "The product itself failed here. Nothing that was filled in is wrong.",
            AUTHOR => "What is asked for this customer can't be done as it stands.",
            _ => "Nothing has to be done.",
        }
    }

    /// Who acts for this tenant, and how, in a sentence.
    pub fn sentence_for(&self, tenant: &str) -> String {
        format!("who has to act: {}; next: {}", self.who, self.next.replace("NAME", tenant))
    }
}

const NOBODY: &str = "nobody, it passes by itself";
const ADMIN: &str = "a platform admin";
const AUTHOR: &str = "whoever wrote the Tenant";
const DEVELOPER: &str = "the product's developers";

const FOLLOW: &str = "kubectl tenantry get NAME --watch";
const MEND_TENANT: &str = "mend the Tenant as the message says";
const MEND_BLUEPRINT: &str = "mend the Blueprint as the message says";
const MEND_PLAN: &str = "mend the Plan as the message says";
const LOOK_AT_SERVERS: &str = "kubectl get databaseservers -o wide";
const LOOK_INTO_SERVER: &str = "look into the database server, as docs/database.md says";

/// Every reason, who acts, and what to do.
const REASONS: &[(&str, &str, &str)] = &[
    ("Ready", "nobody", "kubectl tenantry open NAME"),
    ("Suspended", "nobody, as was asked for", "kubectl tenantry resume NAME"),
    ("Expired", AUTHOR, "move spec.expiresAt, or kubectl tenantry delete NAME"),
    ("DeletionScheduled", "nobody, as was asked for", "kubectl tenantry keep NAME"),
    // What needs a person.
    ("BlueprintMissing", AUTHOR, "create it, or name another in the Tenant"),
    ("PlanMissing", AUTHOR, "create it, or name another in the Tenant"),
    ("DatabaseServerMissing", ADMIN, "create the DatabaseServer again"),
    ("SettingNotAllowed", AUTHOR, MEND_TENANT),
    ("UnknownComponent", AUTHOR, MEND_TENANT),
    ("ReplicasOutOfBounds", AUTHOR, MEND_TENANT),
    ("SingletonScaled", AUTHOR, MEND_TENANT),
    ("AutoscalerNeedsRequest", ADMIN, MEND_PLAN),
    ("QuotaTooSmall", ADMIN, MEND_PLAN),
    ("VariableTwice", ADMIN, MEND_BLUEPRINT),
    ("TemplateFailed", ADMIN, MEND_BLUEPRINT),
    ("ExtraKindNotAllowed", ADMIN, "allow the kind, as docs/install.md says, or take it out of the Blueprint"),
    ("ExtraInvalid", ADMIN, MEND_BLUEPRINT),
    ("InvalidName", AUTHOR, "choose a shorter name for the tenant"),
    ("InvalidHost", AUTHOR, "choose a shorter name for the tenant"),
    ("DeletionBeforeCreation", AUTHOR, "take spec.deletion.at out of the Tenant, or the Tenant out of Git"),
    ("InvalidWindow", AUTHOR, "mend spec.release.window of the Tenant"),
    ("HostConflict", AUTHOR, "take the host out of one of the two Tenants"),
    ("NotOurs", ADMIN, "delete or rename the object that is in the way"),
    ("Refused", ADMIN, "kubectl tenantry events NAME"),
    ("NoDatabaseServer", ADMIN, "add a DatabaseServer, or mend spec.region of the Tenant"),
    ("DatabaseServersFull", ADMIN, "add a DatabaseServer, or raise spec.capacity.tenants of one"),
    ("ForeignRole", ADMIN, LOOK_INTO_SERVER),
    ("ForeignData", ADMIN, LOOK_INTO_SERVER),
    ("ForeignGroup", ADMIN, LOOK_INTO_SERVER),
    ("FormerTenant", ADMIN, "set spec.database.adopt to the UID in the message, or drop the former data"),
    ("DataMissing", ADMIN, "restore the data, as docs/database.md says"),
    ("PlaceChanged", ADMIN, "set it back: data is never moved"),
    ("RegionMismatch", ADMIN, "set it back: data is never moved"),
    ("MigrationFailed", DEVELOPER, "mend the migration, then kubectl tenantry retry NAME"),
    // What passes.
    ("Releasing", NOBODY, FOLLOW),
    ("SnapshotMissing", ADMIN, "make a new Release, if it doesn't pass"),
    ("Migrating", NOBODY, FOLLOW),
    ("MigrationNotStarted", ADMIN, "see that the image is there and the pod may start: kubectl tenantry why NAME"),
    ("WaitingForMigration", NOBODY, FOLLOW),
    ("NotDeployed", NOBODY, FOLLOW),
    ("Deploying", NOBODY, "kubectl tenantry why NAME"),
    ("WaitingForRoute", ADMIN, "see that an ingress controller, or a Gateway, takes the route up"),
    ("NotRouted", NOBODY, FOLLOW),
    ("NotAnswering", DEVELOPER, "kubectl tenantry logs NAME"),
    ("Suspending", NOBODY, FOLLOW),
    ("WaitingForGrant", NOBODY, FOLLOW),
    ("Ending", NOBODY, FOLLOW),
    ("PullSecretMissing", ADMIN, "create the Secret in the operator's namespace"),
    ("PullSecretUnusable", ADMIN, "mend the Secret in the operator's namespace"),
    ("DatabaseServersUnreachable", ADMIN, LOOK_AT_SERVERS),
    ("DatabaseUnreachable", ADMIN, LOOK_AT_SERVERS),
    ("DatabaseAuthenticationFailed", ADMIN, LOOK_AT_SERVERS),
    ("AdminSecretUnusable", ADMIN, "mend the Secret in the operator's namespace"),
    ("DatabaseNeedsAdmin", ADMIN, "run the statement in the message"),
    ("DatabaseRefused", ADMIN, LOOK_INTO_SERVER),
    ("HalfDropped", NOBODY, FOLLOW),
    ("ApiServer", NOBODY, FOLLOW),
    ("Deleting", NOBODY, FOLLOW),
    ("DeletionRefused", ADMIN, "see what refuses it, as the message says, or kubectl tenantry keep NAME"),
    ("DatabaseHolds", ADMIN, LOOK_INTO_SERVER),
];

/// What to do about this reason; none for one that the program doesn't know, as from a newer operator.
pub fn about(reason: &str) -> Option<Advice> {
    let (_, who, next) = REASONS.iter().find(|(known, ..)| *known == reason)?;
    Some(Advice { who, next })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_its_advice_and_its_entry_in_the_documentation() {
        let page = include_str!("../../docs/operations.md");
        let (_, of_tenants) = page.split_once("### Reasons that need a person").unwrap();
        let (of_tenants, _) = of_tenants.split_once("## Conditions of the other kinds").unwrap();
        let of_row = |row: &str| -> Vec<String> {
            let first = row.trim_start_matches('|').split('|').next().unwrap_or_default();
            first.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let well = of_tenants.lines().skip_while(|line| !line.starts_with("### Reasons of a tenant that is well")).skip(2).take(1);
        let documented: BTreeSet<String> = (of_tenants.lines().filter(|line| line.starts_with("| `")).chain(well))
            .flat_map(of_row)
            .filter(|word| word.starts_with(char::is_uppercase))
            .collect();
        let known: BTreeSet<String> = REASONS.iter().map(|(reason, ..)| (*reason).to_owned()).collect();
        assert_eq!(documented, known);
    }

    #[test]
    fn advice_names_the_tenant() {
        let sentence = "who has to act: nobody, it passes by itself; next: kubectl tenantry get acme --watch";
        assert_eq!(about("Migrating").unwrap().sentence_for("acme"), sentence);
        assert_eq!(about("FromTheFuture"), None);
        assert!(about("MigrationFailed").unwrap().plainly().starts_with("The product itself failed"));
        assert!(about("NoDatabaseServer").unwrap().plainly().starts_with("The platform isn't ready"));
        assert!(about("HostConflict").unwrap().plainly().starts_with("What is asked for"));
    }
}
