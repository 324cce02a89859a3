//! A server of OTLP profiles that is as strict as the definition, and answers as a Collector does.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use profiler_proto::otlp::profiles_service_server::{ProfilesService, ProfilesServiceServer};
use profiler_proto::otlp::{
    self, BUILD_ID, ExportProfilesServiceRequest, ExportProfilesServiceResponse,
    ProfilesDictionary, as_number, as_text,
};
use profiler_proto::pprof::{self, Profile};
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::moods::Moods;
use super::{Ledger, Received, serve};

/// A server.
#[derive(Clone)]
pub struct Otlp {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it took, as pprof.
    pub ledger: Arc<Ledger>,
    /// What it does instead.
    pub moods: Arc<Moods>,
}

struct Service {
    ledger: Arc<Ledger>,
    moods: Arc<Moods>,
    behind_collector: bool,
}

impl Otlp {
    /// Starts a server.
    ///
    /// # Errors
    /// Where there is no port.
    pub async fn start() -> Result<Self> {
        Self::start_as(false).await
    }

    /// Starts a server that a Collector passes on to. That refers to the dictionary for attributes of
    /// resources, which an agent must not do.
    ///
    /// # Errors
    /// Where there is no port.
    pub async fn start_behind_collector() -> Result<Self> {
        Self::start_as(true).await
    }

    async fn start_as(behind_collector: bool) -> Result<Self> {
        let (ledger, moods) = (Arc::<Ledger>::default(), Arc::<Moods>::default());
        let service =
            Service { ledger: Arc::clone(&ledger), moods: Arc::clone(&moods), behind_collector };
        let service = ProfilesServiceServer::new(service)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let address = serve(Routes::new(service)).await?;
        Ok(Self { address, ledger, moods })
    }
}

#[tonic::async_trait]
impl ProfilesService for Service {
    async fn export(
        &self,
        request: Request<ExportProfilesServiceRequest>,
    ) -> Result<Response<ExportProfilesServiceResponse>, Status> {
        let _under_way = self.ledger.began(request.metadata());
        self.moods.before().await?;
        let packed = request.metadata().get("grpc-encoding").is_some_and(|e| e == "gzip");
        let mut request = request.into_inner();
        if self.behind_collector {
            otlp::resolve(&mut request);
        }
        let refuse = |what: String| Status::invalid_argument(self.ledger.complain(what));
        otlp::validate(&request).map_err(|violations| {
            let first = violations.first().map(ToString::to_string).unwrap_or_default();
            refuse(format!("{} violations, {first}", violations.len()))
        })?;
        for received in decode(&request).map_err(|e| refuse(format!("{e:#}")))? {
            self.ledger.take(Received { packed, ..received });
        }
        self.moods.after().await;
        // A Collector always sets it.
        let partial_success = Some(Default::default());
        Ok(Response::new(ExportProfilesServiceResponse { partial_success }))
    }
}

/// Reads a request back: each profile as pprof, with the attributes of its resource.
///
/// # Errors
/// Where something refers to nothing.
pub fn decode(request: &ExportProfilesServiceRequest) -> Result<Vec<Received>> {
    let dictionary = request.dictionary.as_ref().context("no dictionary")?;
    let mut all = Vec::new();
    for resource in &request.resource_profiles {
        let attributes = resource.resource.iter().flat_map(|r| &r.attributes);
        let labels: BTreeMap<String, String> = attributes
            .filter_map(|a| Some((a.key.clone(), as_text(a.value.as_ref())?.to_owned())))
            .collect();
        for profile in resource.scope_profiles.iter().flat_map(|scope| &scope.profiles) {
            let profile = to_pprof(profile, dictionary)?;
            all.push(Received { labels: labels.clone(), profile, packed: false });
        }
    }
    Ok(all)
}

fn to_pprof(profile: &otlp::Profile, dictionary: &ProfilesDictionary) -> Result<Profile> {
    let mut strings = dictionary.string_table.clone();
    let mut by_text = HashMap::new();
    let mut add = |text: &str| -> i64 {
        *by_text.entry(text.to_owned()).or_insert_with(|| {
            strings.push(text.to_owned());
            strings.len() as i64 - 1
        })
    };
    let build_id = |mapping: &otlp::Mapping| {
        let indices = mapping.attribute_indices.iter().filter_map(|i| usize::try_from(*i).ok());
        let mut attributes = indices.filter_map(|i| dictionary.attribute_table.get(i));
        let is_build_id = |key: i32| {
            let key = usize::try_from(key).ok().and_then(|k| dictionary.string_table.get(k));
            key.is_some_and(|k| k == BUILD_ID)
        };
        let found = attributes.find(|a| is_build_id(a.key_strindex));
        found.and_then(|a| as_text(a.value.as_ref())).unwrap_or_default()
    };
    let said = said(profile, dictionary)?;
    let comment = said.iter().map(|line| add(line)).collect();
    let value_type = |t: Option<otlp::ValueType>| {
        let t = t.unwrap_or_default();
        pprof::ValueType { ty: t.type_strindex.into(), unit: t.unit_strindex.into() }
    };
    let mappings = (1..).zip(dictionary.mapping_table.iter().skip(1));
    let mapping = mappings
        .map(|(id, m)| pprof::Mapping {
            id,
            filename: m.filename_strindex.into(),
            build_id: match build_id(m) {
                "" => 0,
                text => add(text),
            },
            ..pprof::Mapping::default()
        })
        .collect();
    let locations = (1..).zip(dictionary.location_table.iter().skip(1));
    let location = locations.map(|(id, l)| location(id, l)).collect::<Result<_>>()?;
    let functions = (1..).zip(dictionary.function_table.iter().skip(1));
    let function = functions
        .map(|(id, f)| pprof::Function {
            id,
            name: f.name_strindex.into(),
            system_name: f.system_name_strindex.into(),
            filename: f.filename_strindex.into(),
            start_line: f.start_line,
        })
        .collect();
    let sample = profile.samples.iter().map(|s| sample(s, dictionary)).collect::<Result<_>>()?;
    Ok(Profile {
        sample_type: vec![value_type(profile.sample_type)],
        sample,
        mapping,
        location,
        function,
        string_table: strings,
        time_nanos: profile.time_unix_nano.try_into()?,
        duration_nanos: profile.duration_nano.try_into()?,
        period_type: Some(value_type(profile.period_type)),
        period: profile.period,
        comment,
        ..Profile::default()
    })
}

/// The attributes of a profile, as the comments that they were.
fn said(profile: &otlp::Profile, dictionary: &ProfilesDictionary) -> Result<Vec<String>> {
    let mut said = Vec::new();
    for index in &profile.attribute_indices {
        let attribute = dictionary.attribute_table.get(usize::try_from(*index)?);
        let attribute = attribute.context("no such attribute")?;
        let key = dictionary.string_table.get(usize::try_from(attribute.key_strindex)?);
        let key = key.and_then(|key| key.strip_prefix("profiler_agent.")).context("no such key")?;
        let number = as_number(attribute.value.as_ref()).map(|number| format!("{key}: {number}"));
        let notes = as_text(attribute.value.as_ref()).into_iter().flat_map(str::lines);
        said.extend(number);
        said.extend(notes.map(|note| format!("{}: {note}", key.trim_end_matches('s'))));
    }
    Ok(said)
}

fn location(id: u64, location: &otlp::Location) -> Result<pprof::Location> {
    let line = |line: &otlp::Line| {
        Ok(pprof::Line { function_id: line.function_index.try_into()?, line: line.line })
    };
    Ok(pprof::Location {
        id,
        mapping_id: location.mapping_index.try_into()?,
        address: location.address,
        line: location.lines.iter().map(line).collect::<Result<_>>()?,
        is_folded: false,
    })
}

fn sample(sample: &otlp::Sample, dictionary: &ProfilesDictionary) -> Result<pprof::Sample> {
    let stack = usize::try_from(sample.stack_index)?;
    let stack = dictionary.stack_table.get(stack).context("no such stack")?;
    let ids = stack.location_indices.iter().map(|i| u64::try_from(*i));
    Ok(pprof::Sample {
        location_id: ids.collect::<Result<_, _>>()?,
        value: sample.values.clone(),
        label: Vec::new(),
    })
}
