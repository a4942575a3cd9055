// What nearly every source file of RocksDB includes, directly or by way of others. See `clang++` beside this file.
#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "db/db_impl/db_impl.h"
#include "rocksdb/utilities/transaction_db.h"
#include "table/block_based/block_based_table_reader.h"
