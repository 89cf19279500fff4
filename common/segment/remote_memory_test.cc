// What opening a remote segment takes of memory: a program of its own, as it counts all that is
// allocated.
#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "common/segment/segment.h"
#include "common/segment/test_support.h"

namespace {

std::atomic<size_t> allocated = 0;
std::atomic<size_t> most = 0;

}  // namespace

void* operator new(size_t bytes) {
  void* const memory = std::malloc(bytes);
  if (memory == nullptr) std::abort();
  const size_t now = allocated += malloc_usable_size(memory);
  size_t before = most;
  while (now > before && !most.compare_exchange_weak(before, now)) continue;
  return memory;
}
void operator delete(void* memory) noexcept {
  allocated -= malloc_usable_size(memory);
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept { operator delete(memory); }

namespace sluice {
namespace {

TEST(RemoteSegment, IsOpenedWithItsIndexInMemoryTwiceAtMost) {
  constexpr uint64_t kEntries = 200'000;
  TestFolder folder;
  const WrittenSegment written = [&] {
    WrittenSegment deletions{.path = folder.NewPath(), .info = {}};
    const auto writer = Must(SegmentWriter::Create(deletions.path, 0));
    for (uint64_t i = 0; i < kEntries; ++i) {
      EXPECT_TRUE(writer->AddDeleted(HashOf(std::to_string(i))).ok());
    }
    deletions.info = Must(writer->Finish());
    return deletions;
  }();
  constexpr size_t kIndexBytes = kEntries * sizeof(Segment::Entry);
  Ranges ranges(written.path);
  const size_t before = allocated;
  most = before;
  const auto segment = Must(OpenRemote(written, &ranges));
  EXPECT_LT(most - before, kIndexBytes * 21 / 10);
  EXPECT_LT(allocated - before, kIndexBytes * 11 / 10);
}

}  // namespace
}  // namespace sluice
