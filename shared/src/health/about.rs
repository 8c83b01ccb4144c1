//! What every role tells of itself in `/metrics`: its build, its components, its process.

use std::{fs, path::Path};

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

use super::add;

/// Handles of what changes.
#[derive(Debug, Clone)]
pub(super) struct About {
    components: IntGaugeVec,
}

impl About {
    /// Registers everything.
    pub(super) fn register(registry: &Registry, role: &str) -> Result<Self, prometheus::Error> {
        let build = Opts::new("subtide_build_info", "Always 1; the labels say what runs here.");
        let build = build.const_label("role", role).const_label("version", env!("CARGO_PKG_VERSION"));
        add(registry, IntGauge::with_opts(build)?)?.set(1);
        let components = Opts::new("subtide_component_up", "1 while a part of the role works, else 0.");
        let components = add(registry, IntGaugeVec::new(components, &["component"])?)?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        if let Some(limit) = memory_limit(Path::new("/")) {
            let help = "Most memory the process may use, as its control group says; absent where nothing limits it.";
            let gauge = add(registry, IntGauge::new("subtide_memory_limit_bytes", help)?)?;
            gauge.set(i64::try_from(limit).unwrap_or(i64::MAX));
        }
        Ok(Self { components })
    }

    /// The gauge of one component.
    pub(super) fn component(&self, name: &str) -> IntGauge {
        self.components.with_label_values(&[name])
    }
}

/// `memory.max` of our control group (version 2), bytes; `None` where there is none. `root` is `/`.
fn memory_limit(root: &Path) -> Option<u64> {
    let group = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let group = group.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let limit = fs::read_to_string(root.join("sys/fs/cgroup").join(group).join("memory.max")).ok()?;
    limit.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_that_of_our_own_group() {
        let root = std::env::temp_dir().join(format!("subtide-cgroup-{}", uuid::Uuid::new_v4()));
        let group = root.join("sys/fs/cgroup/system.slice/subtide.service");
        fs::create_dir_all(root.join("proc/self")).unwrap();
        fs::create_dir_all(&group).unwrap();
        fs::write(root.join("proc/self/cgroup"), "1:name=x:/y\n0::/system.slice/subtide.service\n").unwrap();
        assert_eq!(memory_limit(&root), None);
        fs::write(group.join("memory.max"), "max\n").unwrap();
        assert_eq!(memory_limit(&root), None, "without a limit there is nothing to tell");
        fs::write(group.join("memory.max"), "1073741824\n").unwrap();
        assert_eq!(memory_limit(&root), Some(1 << 30));
        fs::remove_dir_all(&root).unwrap();
    }
}
