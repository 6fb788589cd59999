// Reading JSON values from text that ends with bytes of 0.
//
// Every function takes a pointer to the next byte, moves it past what it read, and returns whether that was there. None
// of them reads past the first 0: JSON has no byte of 0, so all of them stop at one. Where the text was cut and ends in
// the middle of a value, they return false with the pointer at that 0.
#pragma once

#include <charconv>
#include <cstdint>
#include <cstring>

namespace pydlx {

// Deeper values are left to the careful reader.
constexpr int kDeepest = 64;

inline bool is_digit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

inline void skip_spaces(const char*& p) {
  while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t') ++p;
}

// The next byte that is no space, if it is this one.
inline bool take(const char*& p, char wanted) {
  skip_spaces(p);
  if (*p != wanted) return false;
  ++p;
  return true;
}

inline bool take_word(const char*& p, const char* word) {
  for (; *word; ++word, ++p) {
    if (*p != *word) return false;
  }
  return true;
}

// The digits of a number up to its exponent. `mantissa` is right if there are at most 19 of them.
struct Decimal {
  uint64_t mantissa = 0;
  int digits = 0, fraction = 0;  // how many in all, and after the point
  bool negative = false;
};

inline bool take_decimal(const char*& p, Decimal& number) {
  number.negative = *p == '-';
  p += number.negative;
  const char* first = p;
  uint64_t mantissa = 0;
  for (; is_digit(*p); ++p) mantissa = 10 * mantissa + static_cast<uint64_t>(*p - '0');
  int64_t digits = p - first;
  if (digits == 0 || (digits > 1 && *first == '0')) return false;
  int64_t fraction = 0;
  if (*p == '.') {
    const char* point = ++p;
    for (; is_digit(*p); ++p) mantissa = 10 * mantissa + static_cast<uint64_t>(*p - '0');
    fraction = p - point;
    if (fraction == 0) return false;
    digits += fraction;
  }
  if (digits > 1000) return false;
  number.mantissa = mantissa;
  number.digits = static_cast<int>(digits);
  number.fraction = static_cast<int>(fraction);
  return true;
}

inline bool take_exponent(const char*& p) {
  if (*p != 'e' && *p != 'E') return true;
  ++p;
  if (*p == '+' || *p == '-') ++p;
  if (!is_digit(*p)) return false;
  while (is_digit(*p)) ++p;
  return true;
}

// A number, rounded to the nearest double. Those beyond the doubles, and those that round to 0, are not taken.
inline bool take_number(const char*& p, double& value) {
  // Powers of ten that are exact: one division of two exact doubles is rounded once, as it should be.
  static constexpr double kPowers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  const char* first = p;
  Decimal number;
  if (!take_decimal(p, number)) return false;
  const bool plain = *p != 'e' && *p != 'E';
  if (plain && number.digits <= 19 && number.mantissa < (uint64_t{1} << 53)) {
    const double size = static_cast<double>(number.mantissa) / kPowers[number.fraction];
    value = number.negative && (number.mantissa || number.fraction) ? -size : size;  // -0 is an integer
    return true;
  }
  if (!take_exponent(p)) return false;
#ifdef __cpp_lib_to_chars
  const auto end = std::from_chars(first, p, value);
  return end.ec == std::errc() && end.ptr == p;
#else
  return false;
#endif
}

// An integer of at most 18 digits, but for -0.
inline bool take_integer(const char*& p, int64_t& value) {
  Decimal number;
  if (!take_decimal(p, number) || number.fraction || number.digits > 18) return false;
  if (*p == 'e' || *p == 'E' || (number.negative && !number.mantissa)) return false;
  value = static_cast<int64_t>(number.mantissa);
  if (number.negative) value = -value;
  return true;
}

inline bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// The rest of a string whose first quote was read.
inline bool skip_string(const char*& p) {
  for (;;) {
    const auto c = static_cast<unsigned char>(*p);
    if (c == '"') {
      ++p;
      return true;
    }
    if (c < 0x20) return false;
    ++p;
    if (c != '\\') continue;
    const char escaped = *p;
    if (escaped == '\0' || !std::strchr("\"\\/bfnrtu", escaped)) return false;
    ++p;
    for (int digit = 0; escaped == 'u' && digit < 4; ++digit, ++p) {
      if (!is_hex(*p)) return false;
    }
  }
}

inline bool skip_value(const char*& p, int depth = 0);

inline bool skip_number(const char*& p) {
  Decimal number;
  return take_decimal(p, number) && take_exponent(p);
}

inline bool skip_array(const char*& p, int depth) {
  if (take(p, ']')) return true;
  do {
    if (!skip_value(p, depth)) return false;
  } while (take(p, ','));
  return take(p, ']');
}

inline bool skip_object(const char*& p, int depth) {
  if (take(p, '}')) return true;
  do {
    if (!take(p, '"') || !skip_string(p) || !take(p, ':') || !skip_value(p, depth)) return false;
  } while (take(p, ','));
  return take(p, '}');
}

inline bool skip_value(const char*& p, int depth) {
  if (depth > kDeepest) return false;
  skip_spaces(p);
  switch (*p) {
    case '"':
      return skip_string(++p);
    case '[':
      return skip_array(++p, depth + 1);
    case '{':
      return skip_object(++p, depth + 1);
    case 't':
      return take_word(p, "true");
    case 'f':
      return take_word(p, "false");
    case 'n':
      return take_word(p, "null");
    default:
      return skip_number(p);
  }
}

}  // namespace pydlx
