//! Whether a file lies on a network share, where SQLite's shared memory and locks cannot be relied on.

use std::path::Path;

const NETWORK: [&str; 9] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "fuse.glusterfs", "fuse.sshfs"];

/// The kind of network share that `path` (absolute, without links) lies on, by what Linux says of its mounts; `None` on a
/// local disk, and where there is no such list.
pub(super) fn share_under(path: &Path) -> Option<String> {
    share_in(&std::fs::read_to_string("/proc/self/mountinfo").ok()?, path)
}

fn share_in(mounts: &str, path: &Path) -> Option<String> {
    let (_, kind) = mounts.lines().filter_map(mount).filter(|(point, _)| path.starts_with(point)).max_by_key(
        // Of two mounts at one point, `max_by_key` takes the last, and it is the one on top.
        |(point, _)| point.len(),
    )?;
    NETWORK.contains(&kind).then(|| kind.to_owned())
}

/// The point and the kind in a line of proc_pid_mountinfo(5); a blank in the point is written `\040`.
fn mount(line: &str) -> Option<(String, &str)> {
    let (left, right) = line.split_once(" - ")?;
    Some((left.split(' ').nth(4)?.replace("\\040", " "), right.split(' ').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_on_the_deepest_mount_above_it() {
        let mounts = "\
21 1 254:0 / / rw - ext4 /dev/vda rw
30 21 0:40 / /srv rw,relatime shared:9 - nfs4 host:/srv rw
31 30 254:1 / /srv/local\\040disk rw - xfs /dev/vdb rw
32 21 0:41 / /share rw - cifs //host/share rw";
        let share = |path: &str| share_in(mounts, Path::new(path));
        assert_eq!(share("/var/tercet.db"), None);
        assert_eq!(share("/srv/tercet.db").as_deref(), Some("nfs4"));
        assert_eq!(share("/srvother/tercet.db"), None);
        assert_eq!(share("/srv/local disk/tercet.db"), None);
        assert_eq!(share("/share/a/tercet.db").as_deref(), Some("cifs"));
    }
}
