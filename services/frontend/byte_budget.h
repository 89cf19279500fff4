// A number of bytes that many calls share: what they hold together stays within it. Thread-safe;
// the budget must outlive the shares that hold something.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace sluice::frontend {

class ByteBudget {
 public:
  explicit ByteBudget(uint64_t max) : max_(max) {}

  // What one call holds; given back when it goes. Used by one thread at a time.
  class Share {
   public:
    explicit Share(ByteBudget& budget) : budget_(&budget) {}
    Share(Share&& other) noexcept
        : budget_(other.budget_), bytes_(std::exchange(other.bytes_, 0)) {}
    Share& operator=(Share&&) = delete;
    ~Share() {
      // One that holds nothing may outlive the budget.
      if (bytes_ > 0) budget_->used_ -= bytes_;
    }

    // False, and nothing changes, if the budget would be exceeded.
    bool TryGrow(uint64_t bytes) {
      if ((budget_->used_ += bytes) > budget_->max_) {
        budget_->used_ -= bytes;
        return false;
      }
      bytes_ += bytes;
      return true;
    }
    uint64_t bytes() const { return bytes_; }

   private:
    ByteBudget* budget_;
    uint64_t bytes_ = 0;
  };

  uint64_t max() const { return max_; }

 private:
  const uint64_t max_;
  std::atomic<uint64_t> used_ = 0;
};

}  // namespace sluice::frontend
