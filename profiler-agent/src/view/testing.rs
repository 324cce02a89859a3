//! Builds profiles for the tests of the views.

use profiler_proto::pprof::{
    Function, Label, Line, Location, Mapping, Profile, Sample, ValueType, validate,
};

use crate::model::conventions::{label, value};

/// A profile under construction. Locations are not shared: no view may care.
pub(super) struct Builder(Profile);

/// Whose a sample is: process name and pid, thread name and tid, state.
pub(super) type Owner<'a> = (&'a str, i64, &'a str, i64, &'a str);

impl Builder {
    /// With on-CPU and off-CPU values, as a wall recording has them, of ten seconds.
    pub(super) fn wall() -> Self {
        let pairs = [(value::SAMPLES, value::CPU), (value::BLOCKS, value::OFF_CPU)];
        let types = pairs
            .into_iter()
            .flat_map(|(count, time)| [(count, value::COUNT), (time, value::NANOSECONDS)]);
        Self::new(&types.collect::<Vec<_>>())
    }

    /// With on-CPU values only.
    pub(super) fn on_cpu() -> Self {
        Self::new(&[(value::SAMPLES, value::COUNT), (value::CPU, value::NANOSECONDS)])
    }

    /// With any types.
    pub(super) fn new(types: &[(&str, &str)]) -> Self {
        let mut builder = Self(Profile {
            string_table: vec![String::new()],
            time_nanos: 1,
            duration_nanos: 10_000_000_000,
            period: 1,
            ..Profile::default()
        });
        for (ty, unit) in types {
            let value_type = ValueType { ty: builder.string(ty), unit: builder.string(unit) };
            builder.0.period_type = Some(value_type.clone());
            builder.0.sample_type.push(value_type);
        }
        builder
    }

    pub(super) fn comment(mut self, comment: &str) -> Self {
        let index = self.string(comment);
        self.0.comment.push(index);
        self
    }

    /// A sample; its frames innermost first, each `file|function`, or `file|inlined←function`.
    pub(super) fn sample(mut self, owner: Owner<'_>, frames: &[&str], values: &[i64]) -> Self {
        let (comm, pid, thread, tid, state) = owner;
        let mut sample = Sample { value: values.to_vec(), ..Sample::default() };
        for (key, text) in [(label::COMM, comm), (label::THREAD, thread), (label::STATE, state)] {
            if !text.is_empty() {
                let (key, str) = (self.string(key), self.string(text));
                sample.label.push(Label { key, str, ..Label::default() });
            }
        }
        for (key, num) in [(label::PID, pid), (label::TID, tid)] {
            if num != 0 {
                sample.label.push(Label { key: self.string(key), num, ..Label::default() });
            }
        }
        for frame in frames {
            let (file, lines) = frame.split_once('|').unwrap();
            let line = lines.split('←').map(|f| Line { function_id: self.function(f), line: 0 });
            let line = line.collect();
            let mapping_id = self.mapping(file);
            let id = self.0.location.len() as u64 + 1;
            self.0.location.push(Location { id, mapping_id, line, ..Location::default() });
            sample.location_id.push(id);
        }
        self.0.sample.push(sample);
        self
    }

    /// The finished profile, which must be valid.
    pub(super) fn build(self) -> Profile {
        assert_eq!(validate(&self.0), Ok(()));
        self.0
    }

    fn string(&mut self, text: &str) -> i64 {
        let table = &mut self.0.string_table;
        let index = table.iter().position(|s| s == text).unwrap_or_else(|| {
            table.push(text.to_owned());
            table.len() - 1
        });
        index as i64
    }

    fn mapping(&mut self, file: &str) -> u64 {
        let filename = self.string(file);
        let table = &mut self.0.mapping;
        if let Some(mapping) = table.iter().find(|m| m.filename == filename) {
            return mapping.id;
        }
        let id = table.len() as u64 + 1;
        table.push(Mapping { id, filename, ..Mapping::default() });
        id
    }

    fn function(&mut self, name: &str) -> u64 {
        let name = self.string(name);
        let table = &mut self.0.function;
        let id = table.len() as u64 + 1;
        table.push(Function { id, name, system_name: name, ..Function::default() });
        id
    }
}
