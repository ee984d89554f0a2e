//! What a visitor may do, as the API server says: a button that would be refused isn't there, and says which right is missing.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

/// A right that some page takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To see who there is.
    ListTenants,
    /// To onboard.
    CreateTenants,
    /// To propose in Git, for who may not onboard. No API server ever asks for it.
    ProposeTenants,
    /// To change plan, trial or look, to suspend and to resume.
    ChangeTenants,
    /// To delete.
    DeleteTenants,
    /// To see what can be chosen from.
    ListPlans,
    /// The same.
    ListBlueprints,
    /// To see releases.
    ListReleases,
    /// To pause and take back.
    ChangeReleases,
}

impl Right {
    /// All of them.
    const ALL: [Self; 9] = [
        Self::ListTenants,
        Self::CreateTenants,
        Self::ProposeTenants,
        Self::ChangeTenants,
        Self::DeleteTenants,
        Self::ListPlans,
        Self::ListBlueprints,
        Self::ListReleases,
        Self::ChangeReleases,
    ];

    fn verb_and_resource(self) -> (&'static str, &'static str) {
        match self {
            Self::ListTenants => ("list", "tenants"),
            Self::CreateTenants => ("create", "tenants"),
            Self::ProposeTenants => ("propose", "tenants"),
            Self::ChangeTenants => ("patch", "tenants"),
            Self::DeleteTenants => ("delete", "tenants"),
            Self::ListPlans => ("list", "plans"),
            Self::ListBlueprints => ("list", "blueprints"),
            Self::ListReleases => ("list", "releases"),
            Self::ChangeReleases => ("patch", "releases"),
        }
    }

    /// What whoever lacks it is told.
    pub fn missing(self) -> String {
        let (verb, resource) = self.verb_and_resource();
        format!("you lack the right to {verb} {resource} of {}: ask an admin for it", crate::api::GROUP)
    }
}

/// Those that a visitor has.
#[derive(Clone, Debug, Default)]
pub struct Rights(Vec<Right>);

impl Rights {
    /// Asks for all of them at once.
    ///
    /// # Errors
    /// Where the API server can't be asked.
    pub async fn of(client: &Client) -> Result<Self, kube::Error> {
        let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
        let ask = async |right: Right| {
            let (verb, resource) = right.verb_and_resource();
            let attributes = ResourceAttributes {
                group: Some(crate::api::GROUP.to_owned()),
                resource: Some(resource.to_owned()),
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            };
            let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..SelfSubjectAccessReviewSpec::default() };
            let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
            let review = reviews.create(&PostParams::default(), &review).await?;
            Ok::<_, kube::Error>(review.status.is_some_and(|status| status.allowed).then_some(right))
        };
        let has = futures::future::try_join_all(Right::ALL.into_iter().map(ask)).await?;
        Ok(Self(has.into_iter().flatten().collect()))
    }

    /// Whether the visitor has it.
    pub fn has(&self, right: Right) -> bool {
        self.0.contains(&right)
    }
}
