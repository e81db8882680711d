// Rows of unequal length, dealt into slots of the batch: rows of a slot run one after the other.
//
// Were every row to begin at step 0, many would run at first and a single one at last, and a step of one row
// reads as many weights as a step of eight. No slot is longer than the longest row, so the call takes as many
// steps as before, and about as many rows run in each of them.
#pragma once

#include <algorithm>
#include <cstdint>

namespace lstmcore {
namespace cpu {

struct SlotRow {
  std::int64_t row, length;
  std::int64_t begin;  // the row's first step is this one of its slot
};

// Row `first` of the sorted rows, then rows [last, rest_end) from the back: the shortest first.
struct Slot {
  std::int64_t first, last, rest_end;
  std::int64_t steps;  // of all its rows

  const SlotRow& at(const SlotRow* rows, std::int64_t step) const {
    if (step < rows[first].length) return rows[first];
    return *std::partition_point(rows + last, rows + rest_end - 1,
                                 [step](const SlotRow& row) { return row.begin > step; });
  }
};

// Sorts the N rows, fills in where they begin, and makes the slots: their number is returned, and those with
// most steps come first. Each slot takes the longest row left, and behind it the shortest ones that there is
// room for.
inline std::int64_t make_slots(SlotRow* rows, std::int64_t N, Slot* slots) {
  std::sort(rows, rows + N, [](const SlotRow& a, const SlotRow& b) {
    return a.length != b.length ? a.length > b.length : a.row < b.row;
  });
  std::int64_t count = 0;
  for (std::int64_t left = N; count < left; ++count) {
    Slot slot = {count, left, left, rows[count].length};
    rows[count].begin = 0;
    while (slot.last - 1 > count && slot.steps + rows[slot.last - 1].length <= rows[0].length) {
      rows[--slot.last].begin = slot.steps;
      slot.steps += rows[slot.last].length;
    }
    left = slot.last;
    slots[count] = slot;
  }
  std::sort(slots, slots + count, [](const Slot& a, const Slot& b) {
    return a.steps != b.steps ? a.steps > b.steps : a.first < b.first;
  });
  return count;
}

}  // namespace cpu
}  // namespace lstmcore
