// What happened to one collection: its writes, by SeqId, and its reads, by the SeqId that they
// answered as of; afterwards the writes are replayed in a model, and each read is checked at its
// moment. (tests/crash/history.h, by contrast, judges calls by when they were made.) Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/base/mutex.h"
#include "sluice/v1/record.pb.h"
#include "tests/model/model.h"

namespace sluice::model {

class Timeline {
 public:
  // What is wrong, seen from the model; "" if nothing is.
  using Check = std::function<std::string(const Model&)>;

  void Wrote(SeqId first, std::vector<v1::OperationRecord> records) EXCLUDES(mutex_);
  // The last SeqId acknowledged so far: what a read that begins now must reflect.
  SeqId acknowledged() const EXCLUDES(mutex_);

  // As Model::GaveUp.
  void GaveUp(const std::string& id, SeqId up_to) EXCLUDES(mutex_);

  void Saw(SeqId as_of, std::string read, Check check) EXCLUDES(mutex_);

  // Takes an empty model through all writes. Returns what was wrong: reads that differ, SeqIds
  // missing or given twice.
  std::vector<std::string> Replay(Model* model) const EXCLUDES(mutex_);

 private:
  struct Read {
    std::string what;
    Check check;
  };

  mutable Mutex mutex_;
  std::map<SeqId, v1::OperationRecord> records_ GUARDED_BY(mutex_);
  std::multimap<SeqId, Read> reads_ GUARDED_BY(mutex_);
  std::multimap<std::string, SeqId> given_up_ GUARDED_BY(mutex_);
  std::vector<std::string> errors_ GUARDED_BY(mutex_);
  SeqId acknowledged_ GUARDED_BY(mutex_);
};

}  // namespace sluice::model
