//! The target's dependency graph, as cargo resolved it: the local packages in it, and whether
//! something in it takes inherited sockets.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, Node, Package, PackageId};

use super::{LocalPackage, TargetKind};

/// Crates that take listening sockets from whoever started the process (`LISTEN_FDS`). Crates that
/// can also do so among much else, or only speak of readiness (`libsystemd`, `sd-notify`), say
/// nothing about the server and are not among them.
const TAKE_SOCKETS: [&str; 5] =
    ["stario-runtime", "listenfd", "tokio-listener", "sd-listen-fds", "systemd_socket"];

/// The packages that a target is built from, its own first.
pub(super) struct Graph<'a> {
    metadata: &'a Metadata,
    nodes: HashMap<&'a PackageId, &'a Node>,
    root: &'a Package,
    kind: TargetKind,
}

impl<'a> Graph<'a> {
    pub(super) fn new(metadata: &'a Metadata, root: &'a Package, kind: TargetKind) -> Self {
        let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
        let nodes = nodes.map(|node| (&node.id, node)).collect();
        Self { metadata, nodes, root, kind }
    }

    /// Every local package that the target depends on, wherever it lies: a change in a build
    /// script's or a procedural macro's dependency changes the target too.
    pub(super) fn local(&self) -> Vec<LocalPackage> {
        let reached = self.reach(&[DependencyKind::Normal, DependencyKind::Build]);
        let local = reached.into_iter().filter(|package| package.source.is_none());
        local
            .map(|package| LocalPackage {
                name: package.name.to_string(),
                root: folder(package).to_owned(),
            })
            .collect()
    }

    /// The crate that takes inherited sockets, at any depth of what is linked: a framework of the
    /// user's own, also one from a registry, may have it in turn.
    pub(super) fn takes_socket(&self) -> Option<String> {
        let linked = self.reach(&[DependencyKind::Normal]);
        let name = TAKE_SOCKETS.iter().find(|name| linked.iter().any(|it| it.name == **name));
        name.map(|name| (*name).to_owned())
    }

    /// The features of the root package that are enabled.
    ///
    /// Cargo unifies them over the whole workspace here: one that is missing here is missing in the
    /// build too, but not the other way round.
    pub(super) fn features(&self) -> HashSet<&'a str> {
        let node = self.nodes.get(&self.root.id);
        node.map(|node| node.features.iter().map(|name| name.as_str()).collect())
            .unwrap_or_default()
    }

    /// The packages that the root reaches by dependencies of these kinds, nearest first. An example
    /// has its own package's development dependencies too.
    fn reach(&self, kinds: &[DependencyKind]) -> Vec<&'a Package> {
        let packages: HashMap<_, _> =
            self.metadata.packages.iter().map(|package| (&package.id, package)).collect();
        let mut reached = vec![&self.root.id];
        let mut seen = HashSet::from([&self.root.id]);
        let mut next = 0;
        while let Some(id) = reached.get(next).copied() {
            let development = next == 0 && self.kind == TargetKind::Example;
            let follow = |kind: DependencyKind| {
                kinds.contains(&kind) || (development && kind == DependencyKind::Development)
            };
            for dependency in self.nodes.get(id).into_iter().flat_map(|node| &node.deps) {
                if dependency.dep_kinds.iter().any(|it| follow(it.kind))
                    && seen.insert(&dependency.pkg)
                {
                    reached.push(&dependency.pkg);
                }
            }
            next += 1;
        }
        reached.into_iter().filter_map(|id| packages.get(id).copied()).collect()
    }
}

/// The folder of a package's manifest.
pub(super) fn folder(package: &Package) -> &Path {
    let manifest = package.manifest_path.as_std_path();
    manifest.parent().unwrap_or(manifest)
}
