//! `identity.kubernetes` in the configuration.

use crate::config::ConfigError;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Whether and how the Kubernetes API is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesConfig {
    pub watch: Watch,
    /// File that says where the API is and how to log in; without it, the pod's own service account.
    pub kubeconfig: Option<PathBuf>,
    /// Name of the cluster, as the environment of what runs in it; empty: what agents say.
    pub cluster: String,
    /// Objects of one page of a list.
    pub page_size: u32,
}

/// When the API is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watch {
    /// With a kubeconfig, or in a pod that has a service account.
    #[default]
    Auto,
    Always,
    Never,
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        // 500 pods of 8 KiB are 4 MiB, held while they are read.
        Self { watch: Watch::Auto, kubeconfig: None, cluster: String::new(), page_size: 500 }
    }
}

impl KubernetesConfig {
    /// # Errors
    /// Names the key that cannot be used.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.page_size == 0 { Err(ConfigError::Zero("identity.kubernetes.page_size")) } else { Ok(()) }
    }
}
