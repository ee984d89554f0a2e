//! How the operator of a cluster is installed: options of the commands that have to know it.

use tenantry::instance::Settings;
use tenantry::instance::render::Kind;

/// Where the operator is, and as whom it acts.
#[derive(clap::Args, Clone, Debug)]
pub struct Installation {
    /// The namespace of the operator.
    #[arg(short = 'n', long, value_name = "NAME", default_value = "tenantry-system")]
    pub namespace: String,
    /// The ServiceAccount of the operator.
    #[arg(long, value_name = "NAME", default_value = "tenantry-operator")]
    pub service_account: String,
}

/// All that the operator was started with and that changes what it makes.
#[derive(clap::Args, Clone, Debug)]
pub struct Started {
    /// A kind that extras may be of, as the operator is started with. May be given several times.
    #[arg(long = "extra-kind", value_name = "GROUP/VERSION/KIND")]
    extra_kinds: Vec<Kind>,
    #[command(flatten)]
    pub installation: Installation,
}

impl Started {
    /// As the operator has them.
    pub fn settings(&self) -> Settings {
        let Installation { namespace, service_account } = self.installation.clone();
        Settings { namespace, service_account, extra_kinds: self.extra_kinds.clone() }
    }
}
