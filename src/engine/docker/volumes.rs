//! Volumes.

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptions};

use super::{CHANGE_TIMEOUT_SECONDS, Docker, check_path_part, label_filter, ordered, unordered};
use crate::engine::{EngineError, Labels, VolumeFacts};

fn facts(volume: bollard::models::Volume) -> VolumeFacts {
    VolumeFacts {
        name: volume.name,
        labels: ordered(Some(volume.labels)),
        mountpoint: Some(volume.mountpoint).filter(|path| path.starts_with('/')),
    }
}

impl Docker {
    pub(super) async fn make_volume(&self, name: &str, labels: &Labels) -> Result<(), EngineError> {
        check_path_part(name, "volume")?;
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            driver: Some("local".to_owned()),
            labels: Some(unordered(labels)),
            ..Default::default()
        };
        let object = format!("volume {name}");
        let call = self.call(format!("create {object}"), object, CHANGE_TIMEOUT_SECONDS);
        call.run(self.client.create_volume(request)).await.map(|_| ())
    }

    pub(super) async fn find_volume(&self, name: &str) -> Result<Option<VolumeFacts>, EngineError> {
        check_path_part(name, "volume")?;
        match self
            .query(format!("volume {name}"))
            .run(self.client.inspect_volume(name))
            .await
        {
            Ok(volume) => Ok(Some(facts(volume))),
            Err(EngineError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn list_volumes(&self, labels: &Labels) -> Result<Vec<VolumeFacts>, EngineError> {
        let options = ListVolumesOptionsBuilder::new().filters(&label_filter(labels)).build();
        let listed = self
            .query("volumes".to_owned())
            .run(self.client.list_volumes(Some(options)))
            .await?;
        let mut volumes: Vec<_> = listed.volumes.unwrap_or_default().into_iter().map(facts).collect();
        volumes.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(volumes)
    }

    pub(super) async fn delete_volume(&self, name: &str) -> Result<(), EngineError> {
        check_path_part(name, "volume")?;
        let object = format!("volume {name}");
        let call = self.call(format!("remove {object}"), object, CHANGE_TIMEOUT_SECONDS);
        match call
            .run(self.client.remove_volume(name, None::<RemoveVolumeOptions>))
            .await
        {
            Err(EngineError::NotFound { .. }) => Ok(()),
            removed => removed,
        }
    }
}
