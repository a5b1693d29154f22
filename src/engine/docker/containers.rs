//! Containers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::StartExecResults;
use bollard::models::{
    ContainerCreateBody, ExecConfig, HostConfig, HostConfigLogConfig, Mount as ApiMount, MountTmpfsOptions, MountType,
    MountVolumeOptions, ResourcesUlimits,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder,
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, UploadToContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures_util::stream::StreamExt;

use super::errors::{Call, has_status};
use super::{
    Ability, CHANGE_TIMEOUT_SECONDS, DOWNLOAD_IDLE_TIMEOUT_SECONDS, Docker, QUERY_TIMEOUT_SECONDS,
    UPLOAD_TIMEOUT_SECONDS, check_path_part, label_filter, ordered, seccomp, signed, streams, unordered,
};
use crate::engine::{
    ByteStream, ContainerExit, ContainerFacts, ContainerId, ContainerSpec, EngineError, Executed, ImageId, Labels,
    LogStream, Mount, Network, OutputStream, Tie,
};

/// One processor, as the engine counts.
const NANO_CPUS: u64 = 1_000_000_000;
const STATUS_CONFLICT: u16 = 409;
/// How much of a command's output is kept.
const EXEC_OUTPUT_LIMIT_BYTES: usize = 64 * 1024;
/// How often it is asked how a command ended that has closed its output.
const EXEC_POLL_MILLISECONDS: u64 = 10;
/// How often the engine is asked again to remove a container that is still in use somewhere inside it.
const REMOVE_ATTEMPTS_LIMIT: u32 = 5;
/// How long it is given in between.
const REMOVE_PAUSE_MILLISECONDS: u64 = 300;

/// The request that makes a container as `spec` says.
fn request(spec: &ContainerSpec, ability: Ability) -> ContainerCreateBody {
    let processors = ability.processors;
    let mut security = vec!["no-new-privileges".to_owned()];
    if ability.filters_calls {
        security.push(format!(
            "seccomp={}",
            seccomp::profile(spec.sees_interfaces, spec.machine.may_fix_addresses)
        ));
    }
    let memory = Some(signed(spec.limits.memory_bytes));
    let host_config = HostConfig {
        network_mode: Some(
            match spec.network {
                Network::None => "none",
                Network::Default => "default",
            }
            .to_owned(),
        ),
        memory,
        // Memory and swap together: equal means no swap.
        memory_swap: memory,
        // More than it has is an error to the engine, and all that it has to everyone else.
        nano_cpus: Some(signed(spec.limits.nano_cpus.min(processors.saturating_mul(NANO_CPUS)))),
        cpuset_cpus: spec.machine.processors.clone(),
        pids_limit: Some(signed(spec.limits.processes)),
        ulimits: spec.limits.file_bytes.map(|limit| {
            vec![ResourcesUlimits {
                name: Some("fsize".to_owned()),
                soft: Some(signed(limit)),
                hard: Some(signed(limit)),
            }]
        }),
        pid_mode: spec.beside.as_ref().map(|other| format!("container:{other}")),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(spec.capabilities.clone()),
        security_opt: Some(security),
        readonly_rootfs: Some(spec.read_only_root),
        init: Some(spec.init),
        mounts: Some(spec.mounts.iter().filter_map(mount).collect()),
        tmpfs: Some(spec.mounts.iter().filter_map(owned_tmpfs).collect()),
        // Output goes to whoever is attached and nowhere else: a kept log either fills the disk or, with a limit, drops
        // lines under a reader that is slower than the writer.
        log_config: Some(HostConfigLogConfig {
            typ: Some("none".to_owned()),
            config: None,
        }),
        ..Default::default()
    };
    ContainerCreateBody {
        hostname: spec.machine.host_name.clone(),
        domainname: spec.machine.domain_name.clone(),
        image: Some(spec.image.0.clone()),
        // As entry point: otherwise the image's own would run, with the command as its arguments.
        entrypoint: Some(spec.command.clone()),
        cmd: Some(Vec::new()),
        env: Some(
            spec.environment
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
        ),
        working_dir: Some(spec.working_directory.clone()),
        user: Some(spec.user.clone()),
        labels: Some(unordered(&spec.labels)),
        tty: Some(false),
        // Once: when whoever holds it has gone, the container reads the end of it.
        open_stdin: Some(spec.tied),
        stdin_once: Some(spec.tied),
        attach_stdin: Some(spec.tied),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        host_config: Some(host_config),
        ..Default::default()
    }
}

/// Memory that belongs to somebody, as the engine takes it: its mounts have no owners (tmpfs(5)).
fn owned_tmpfs(mount: &Mount) -> Option<(String, String)> {
    let Mount::OwnedTmpfs {
        path,
        size_bytes,
        owner,
        executable,
    } = mount
    else {
        return None;
    };
    let exec = if *executable { "exec" } else { "noexec" };
    let options = format!(
        "rw,nosuid,nodev,{exec},size={size_bytes},mode=0755,uid={},gid={}",
        owner.uid, owner.gid
    );
    Some((path.clone(), options))
}

fn mount(mount: &Mount) -> Option<ApiMount> {
    Some(match mount {
        Mount::Volume { name, path, read_only } => ApiMount {
            typ: Some(MountType::VOLUME),
            source: Some(name.clone()),
            target: Some(path.clone()),
            read_only: Some(*read_only),
            ..Default::default()
        },
        Mount::Anonymous { path, labels } => ApiMount {
            typ: Some(MountType::VOLUME),
            target: Some(path.clone()),
            volume_options: Some(MountVolumeOptions {
                labels: Some(unordered(labels)),
                ..Default::default()
            }),
            ..Default::default()
        },
        Mount::Tmpfs { path, size_bytes } => ApiMount {
            typ: Some(MountType::TMPFS),
            target: Some(path.clone()),
            tmpfs_options: Some(MountTmpfsOptions {
                size_bytes: Some(signed(*size_bytes)),
                ..Default::default()
            }),
            ..Default::default()
        },
        Mount::OwnedTmpfs { .. } => return None,
    })
}

impl Docker {
    fn container_call(&self, verb: &str, container: &ContainerId, limit_seconds: u64) -> Result<Call<'_>, EngineError> {
        check_path_part(&container.0, "container")?;
        let object = format!("container {container}");
        Ok(self.call(format!("{verb} {object}"), object, limit_seconds))
    }

    pub(super) async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        let beside = match &spec.beside {
            Some(other) => self.volumes_of(other).await?,
            None => vec![],
        };
        for mount in &spec.mounts {
            // The engine would create a missing volume, without the labels by which it is found again.
            if let Mount::Volume { name, .. } = mount
                && self.find_volume(name).await?.is_none()
            {
                return Err(EngineError::NotFound {
                    what: format!("volume {name}"),
                });
            }
        }
        let mut request = request(spec, self.ability().await?);
        if let Some(mounts) = request.host_config.as_mut().and_then(|host| host.mounts.as_mut()) {
            mounts.extend(beside);
        }
        let action = format!("create container {}", spec.name);
        let call = self.call(action, format!("image {}", spec.image), CHANGE_TIMEOUT_SECONDS);
        let options = CreateContainerOptionsBuilder::new().name(&spec.name).build();
        let mut is_taken = false;
        let created = call
            .run(async {
                let created = self.client.create_container(Some(options), request).await;
                is_taken = matches!(&created, Err(error) if has_status(error, STATUS_CONFLICT));
                created
            })
            .await;
        match created {
            Err(_) if is_taken => Err(EngineError::NameTaken {
                name: spec.name.clone(),
            }),
            created => Ok(ContainerId(created?.id)),
        }
    }

    /// The volumes of a container, as mounts that only read. (An engine's own way to say so fails for containers that have
    /// memory mounted beside their volumes.)
    async fn volumes_of(&self, container: &ContainerId) -> Result<Vec<ApiMount>, EngineError> {
        let call = self.container_call("look at", container, QUERY_TIMEOUT_SECONDS)?;
        let inspected = call.run(self.client.inspect_container(&container.0, None)).await?;
        let mounts = inspected.mounts.unwrap_or_default().into_iter();
        let volumes = mounts.filter(|mount| mount.typ.as_deref() == Some("volume"));
        Ok(volumes
            .map(|volume| ApiMount {
                typ: Some(MountType::VOLUME),
                source: volume.name,
                target: volume.destination,
                read_only: Some(true),
                ..Default::default()
            })
            .collect())
    }

    pub(super) async fn upload_archive(
        &self,
        container: &ContainerId,
        path: &str,
        archive: ByteStream,
    ) -> Result<(), EngineError> {
        let mut call = self.container_call("upload files to", container, UPLOAD_TIMEOUT_SECONDS)?;
        call.object = format!("directory {path} in container {container}");
        let options = UploadToContainerOptionsBuilder::new().path(path).build();
        let (body, failure) = streams::body(archive);
        let request = self
            .client
            .upload_to_container(&container.0, Some(options), bollard::body_try_stream(body));
        call.run(request).await.map_err(|error| failure.or(error))
    }

    pub(super) async fn download_archive(
        &self,
        container: &ContainerId,
        path: &str,
    ) -> Result<ByteStream, EngineError> {
        let mut call = self.container_call("download files from", container, QUERY_TIMEOUT_SECONDS)?;
        call.object = format!("{path} in container {container}");
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        let chunks = Box::pin(self.client.download_from_container(&container.0, Some(options)));
        streams::download(call, chunks, DOWNLOAD_IDLE_TIMEOUT_SECONDS).await
    }

    pub(super) async fn start_container(&self, container: &ContainerId) -> Result<(), EngineError> {
        let call = self.container_call("start", container, CHANGE_TIMEOUT_SECONDS)?;
        let request = self.client.start_container(&container.0, None);
        // A program that is not in the image is 404 here, as a missing container is: only the words differ.
        call.run(async {
            match request.await {
                Err(Error::DockerResponseServerError {
                    status_code: 404,
                    message,
                }) if !message.starts_with("No such container") => Err(Error::DockerStreamError { error: message }),
                started => started,
            }
        })
        .await
    }

    /// Attaches to a container that has not started. (What it writes between the engine's answer and the moment when the
    /// engine has attached would be lost, but starting takes the engine a thousand times longer than attaching, and the
    /// docker command line relies on it too.)
    pub(super) async fn attach(&self, container: &ContainerId) -> Result<LogStream, EngineError> {
        let call = self.container_call("follow the output of", container, QUERY_TIMEOUT_SECONDS)?;
        let options = AttachContainerOptionsBuilder::new()
            .stream(true)
            .stdout(true)
            .stderr(true)
            .build();
        let attached = call
            .run(self.client.attach_container(&container.0, Some(options)))
            .await?;
        let reached = Arc::clone(&self.reached);
        let (action, object) = (call.action.clone(), call.object.clone());
        let output = attached.output.map(move |piece| match piece {
            Ok(LogOutput::StdErr { message }) => Ok((OutputStream::Stderr, message)),
            Ok(piece) => Ok((OutputStream::Stdout, piece.into_bytes())),
            Err(error) => {
                let (action, object) = (action.clone(), object.clone());
                Err(Call {
                    reached: &reached,
                    action,
                    object,
                    limit: Duration::ZERO,
                }
                .error(&error))
            }
        });
        Ok(output.boxed())
    }

    pub(super) async fn start_with_input(&self, container: &ContainerId) -> Result<Tie, EngineError> {
        let call = self.container_call("hold the input of", container, QUERY_TIMEOUT_SECONDS)?;
        let options = AttachContainerOptionsBuilder::new().stream(true).stdin(true).build();
        let attached = call
            .run(self.client.attach_container(&container.0, Some(options)))
            .await?;
        self.start_container(container).await?;
        Ok(Tie::new(Mutex::new(attached.input)))
    }

    pub(super) async fn execute(
        &self,
        container: &ContainerId,
        command: &[String],
        limit: Duration,
    ) -> Result<Executed, EngineError> {
        let mut call = self.container_call("run a command in", container, 0)?;
        call.limit = limit;
        let config = ExecConfig {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.to_vec()),
            ..Default::default()
        };
        call.run(async {
            let exec = self.client.create_exec(&container.0, config).await?.id;
            let mut output = Vec::new();
            if let StartExecResults::Attached { output: mut pieces, .. } = self.client.start_exec(&exec, None).await? {
                while let Some(piece) = pieces.next().await {
                    let piece = piece?.into_bytes();
                    // Read to its end, or the command would wait for its reader.
                    let room = EXEC_OUTPUT_LIMIT_BYTES - output.len();
                    output.extend_from_slice(&piece[..piece.len().min(room)]);
                }
            }
            // The output ends before the engine has noted the status: it is asked until it has.
            loop {
                let inspected = self.client.inspect_exec(&exec).await?;
                if let (Some(false) | None, Some(status)) = (inspected.running, inspected.exit_code) {
                    let output = String::from_utf8_lossy(&output).into_owned();
                    return Ok(Executed { status, output });
                }
                tokio::time::sleep(Duration::from_millis(EXEC_POLL_MILLISECONDS)).await;
            }
        })
        .await
    }

    pub(super) async fn wait_for_end(
        &self,
        container: &ContainerId,
        limit: Duration,
    ) -> Result<ContainerExit, EngineError> {
        let mut call = self.container_call("see the end of", container, 0)?;
        call.limit = limit;
        // Unlike `next-exit`, this also answers for a container that has ended already.
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let mut answers = self.client.wait_container(&container.0, Some(options));
        let status = call
            .run(async {
                match answers.next().await {
                    Some(Ok(answer)) => Ok(Some(answer.status_code)),
                    // The client takes every status but 0 for an error.
                    Some(Err(Error::DockerContainerWaitError { code, .. })) => Ok(Some(code)),
                    Some(Err(error)) => Err(error),
                    None => Ok(None),
                }
            })
            .await?
            .ok_or_else(|| call.failed("it ended its answer without one"))?;
        let inspected = self
            .container_call("look at", container, QUERY_TIMEOUT_SECONDS)?
            .run(self.client.inspect_container(&container.0, None))
            .await?;
        let out_of_memory = inspected.state.and_then(|state| state.oom_killed).unwrap_or(false);
        Ok(ContainerExit { status, out_of_memory })
    }

    pub(super) async fn kill_container(&self, container: &ContainerId) -> Result<(), EngineError> {
        let call = self.container_call("end", container, CHANGE_TIMEOUT_SECONDS)?;
        call.run(async {
            match self.client.kill_container(&container.0, None).await {
                // It has ended by itself.
                Err(error) if has_status(&error, STATUS_CONFLICT) => Ok(()),
                killed => killed,
            }
        })
        .await
    }

    pub(super) async fn delete_container(&self, container: &ContainerId) -> Result<(), EngineError> {
        let call = self.container_call("remove", container, CHANGE_TIMEOUT_SECONDS)?;
        let mut attempt = 1;
        loop {
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            match call
                .run(self.client.remove_container(&container.0, Some(options)))
                .await
            {
                Err(EngineError::NotFound { .. }) => return Ok(()),
                // Someone else is removing it, or its file system is still busy.
                Err(EngineError::Failed { .. }) if attempt < REMOVE_ATTEMPTS_LIMIT => {}
                removed => return removed,
            }
            attempt += 1;
            tokio::time::sleep(Duration::from_millis(REMOVE_PAUSE_MILLISECONDS)).await;
        }
    }

    pub(super) async fn delete_ended_container(&self, container: &ContainerId) -> Result<bool, EngineError> {
        let call = self.container_call("remove", container, CHANGE_TIMEOUT_SECONDS)?;
        let options = RemoveContainerOptionsBuilder::new().force(false).v(true).build();
        let mut is_running = false;
        let removed = call
            .run(async {
                let removed = self.client.remove_container(&container.0, Some(options)).await;
                is_running = matches!(&removed, Err(error) if has_status(error, STATUS_CONFLICT));
                removed
            })
            .await;
        match removed {
            Ok(()) | Err(EngineError::NotFound { .. }) => Ok(true),
            // Or somebody else is removing it: then it is gone soon.
            Err(_) if is_running => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn list_containers(&self, labels: &Labels) -> Result<Vec<ContainerFacts>, EngineError> {
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&label_filter(labels))
            .build();
        let listed = self
            .query("containers".to_owned())
            .run(self.client.list_containers(Some(options)))
            .await?;
        let mut containers: Vec<_> = listed
            .into_iter()
            .map(|container| ContainerFacts {
                id: container.id.unwrap_or_default(),
                name: container
                    .names
                    .and_then(|names| names.into_iter().next())
                    .unwrap_or_default()
                    .trim_start_matches('/')
                    .to_owned(),
                state: container.state.map(|state| state.to_string()).unwrap_or_default(),
                image: ImageId(container.image_id.unwrap_or_default()),
                labels: ordered(container.labels),
            })
            .collect();
        containers.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(containers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{ImageId, MachineView, ResourceLimits};
    use std::collections::BTreeMap;

    #[test]
    fn a_container_gets_no_more_than_its_specification_says() {
        let spec = ContainerSpec {
            name: "compile-shout".to_owned(),
            image: ImageId("sha256:00".to_owned()),
            command: vec!["sh".to_owned(), "-c".to_owned(), "true".to_owned()],
            environment: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
            working_directory: "/lockstep/src".to_owned(),
            user: "1000:1000".to_owned(),
            labels: Labels::new(),
            network: Network::None,
            mounts: vec![Mount::Anonymous {
                path: "/lockstep".to_owned(),
                labels: Labels::new(),
            }],
            limits: ResourceLimits {
                memory_bytes: 1 << 20,
                nano_cpus: 5_000_000_000,
                processes: u64::MAX,
                file_bytes: Some(1 << 30),
            },
            read_only_root: true,
            init: true,
            tied: true,
            capabilities: vec!["CHOWN".to_owned()],
            sees_interfaces: false,
            beside: Some(ContainerId("00ff".to_owned())),
            machine: MachineView::default(),
        };
        let ability = |filters_calls| Ability {
            processors: 2,
            filters_calls,
        };
        let request_without = request(&spec, ability(false));
        let request = request(&spec, ability(true));
        let host = request.host_config.unwrap_or_default();
        assert_eq!(request.entrypoint, Some(spec.command));
        assert_eq!(request.env, Some(vec!["A=b".to_owned()]));
        assert_eq!(host.network_mode.as_deref(), Some("none"));
        assert_eq!((host.memory, host.memory_swap), (Some(1 << 20), Some(1 << 20)));
        assert_eq!((host.nano_cpus, host.pids_limit), (Some(2_000_000_000), Some(i64::MAX)));
        let files = host.ulimits.unwrap_or_default();
        assert_eq!(
            (files[0].name.as_deref(), files[0].hard),
            (Some("fsize"), Some(1 << 30))
        );
        assert_eq!(host.pid_mode.as_deref(), Some("container:00ff"));
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(host.cap_add, Some(spec.capabilities));
        let security = host.security_opt.unwrap_or_default();
        assert_eq!((security.len(), security[0].as_str()), (2, "no-new-privileges"));
        assert!(security[1].starts_with("seccomp={\""), "{}", security[1]);
        assert_eq!(
            request_without.host_config.unwrap_or_default().security_opt,
            Some(vec!["no-new-privileges".to_owned()])
        );
        assert_eq!(host.log_config.and_then(|log| log.typ).as_deref(), Some("none"));
        assert_eq!(
            (host.readonly_rootfs, host.init, host.privileged),
            (Some(true), Some(true), None)
        );
        assert_eq!(host.binds, None);
        assert_eq!((request.open_stdin, request.stdin_once), (Some(true), Some(true)));
    }
}
