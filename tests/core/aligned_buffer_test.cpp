// Buffers of all sizes, on cache lines and on large pages.
#include <moevit/core/aligned_buffer.hpp>

#include "catch.hpp"

#include <algorithm>
#include <cstdint>

using namespace moevit;

TEST_CASE("buffers are zeros on a cache line, large ones on a large page, and copies are their own") {
  constexpr Index page = static_cast<Index>(huge_page / sizeof(float));
  for (const Index size : {Index{0}, Index{1}, page - 1, page, page + 1, 2 * page + 5}) {
    CAPTURE(size);
    AlignedBuffer<float> buffer(size);
    REQUIRE(buffer.size() == size);
    CHECK(std::ranges::all_of(buffer.span(), [](float value) { return value == 0.f; }));
    CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % (size < page ? cache_line : huge_page) == 0);
    if (size == 0) continue;
    buffer[size - 1] = 3.f;
    AlignedBuffer<float> copy = buffer;
    copy[0] = 4.f;
    CHECK(copy.data() != buffer.data());
    CHECK(std::equal(copy.data() + 1, copy.data() + size, buffer.data() + 1));
    AlignedBuffer<float> small(3);
    small = std::move(copy);  // of another alignment
    CHECK(small.size() == size);
    CHECK(small[0] == 4.f);
  }
  CHECK_THROWS_WITH(AlignedBuffer<float>(-1), Catch::Contains("at least 0, found -1"));
}
