//! Aggregate functions: a table of them, and the frame that makes each a UDF.
//!
//! AGG-1  updating with parts and merging the parts' states in their order gives what updating with the whole gives: parts are
//!        pre-combined before a repartition, and states are what is stored.
//! AGG-2  `state` changes nothing: it is asked for at every commit, between updates.

mod collect;
mod constant;
mod distinct;
mod histogram;
mod offset;
mod set;
mod sum_list;
mod topk;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::correlation::corr_udaf;
use datafusion::functions_aggregate::stddev::stddev_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

/// All aggregate functions of this crate.
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let own =
        [collect::AGGREGATES, distinct::AGGREGATES, histogram::AGGREGATES, offset::AGGREGATES, sum_list::AGGREGATES, topk::AGGREGATES];
    let own = own.iter().flat_map(|aggregates| aggregates.iter()).map(|aggregate| Arc::new(AggregateUDF::from(Udaf::new(aggregate))));
    let renamed = [(stddev_udaf(), "stddev_sample"), (corr_udaf(), "correlation")];
    own.chain(renamed.map(|(function, alias)| Arc::new(function.as_ref().clone().with_aliases([alias])))).collect()
}

/// A function, as its module declares it.
#[derive(Debug)]
struct Aggregate {
    name: &'static str,
    /// How it may be called, for the error message.
    usage: &'static str,
    /// The types that arguments are cast to; `None` if it cannot be called with these.
    arguments: fn(&[DataType]) -> Option<Vec<DataType>>,
    /// The type of the result for arguments of the cast types.
    returns: fn(&[DataType]) -> DataType,
    /// Names and types of the state's parts.
    state: fn(&[DataType]) -> Vec<(&'static str, DataType)>,
    accumulator: fn(&Call) -> Result<Box<dyn Accumulator>>,
}

/// What an accumulator is made for.
struct Call {
    /// The arguments' types.
    types: Vec<DataType>,
    /// The values of those arguments that are constants.
    constants: Vec<Option<ScalarValue>>,
}

#[derive(Debug)]
struct Udaf {
    aggregate: &'static Aggregate,
    signature: Signature,
}

impl Udaf {
    fn new(aggregate: &'static Aggregate) -> Udaf {
        Udaf { aggregate, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl PartialEq for Udaf {
    fn eq(&self, other: &Udaf) -> bool {
        self.aggregate.name == other.aggregate.name
    }
}

impl Eq for Udaf {}

impl Hash for Udaf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.aggregate.name.hash(state);
    }
}

impl AggregateUDFImpl for Udaf {
    fn name(&self) -> &str {
        self.aggregate.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        (self.aggregate.arguments)(types).ok_or_else(|| {
            let types: Vec<String> = types.iter().map(ToString::to_string).collect();
            let (name, usage) = (self.aggregate.name, self.aggregate.usage);
            DataFusionError::Plan(format!("function {name} does not accept parameters ({}): it is called as {usage}", types.join(", ")))
        })
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok((self.aggregate.returns)(types))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let types: Vec<DataType> = args.input_fields.iter().map(|field| field.data_type().clone()).collect();
        let field = |(part, data_type)| Arc::new(Field::new(format_state_name(args.name, part), data_type, true));
        Ok((self.aggregate.state)(&types).into_iter().map(field).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let name = self.aggregate.name;
        if args.is_distinct {
            return Err(DataFusionError::NotImplemented(format!("{name} with DISTINCT is not supported")));
        }
        if !args.order_bys.is_empty() {
            return Err(DataFusionError::NotImplemented(format!("{name} with ORDER BY is not supported: values come as they arrive")));
        }
        let types = args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        let constants = args.exprs.iter().map(constant::value).collect();
        (self.aggregate.accumulator)(&Call { types, constants })
    }
}

fn list_of(item: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item.clone(), true)))
}

fn list(values: &[ScalarValue], item: &DataType) -> ScalarValue {
    ScalarValue::List(ScalarValue::new_list(values, item, true))
}

/// A value that keeps nothing alive of the batch it comes from.
fn value(array: &dyn Array, row: usize) -> Result<ScalarValue> {
    Ok(ScalarValue::try_from_array(array, row)?.compacted())
}

/// The elements of all lists of a state column, in order.
fn each_element(states: &ArrayRef, mut each: impl FnMut(ScalarValue) -> Result<()>) -> Result<()> {
    let lists = states.as_list::<i32>();
    for elements in lists.iter().flatten() {
        for row in 0..elements.len() {
            each(value(elements.as_ref(), row)?)?;
        }
    }
    Ok(())
}
