/* logits_order.h - logits as whole numbers of three digits that rise with them, for selection digit
 * by digit: the place of a sort.
 */
#ifndef SA2_RUNTIME_DECODER_LOGITS_ORDER_H
#define SA2_RUNTIME_DECODER_LOGITS_ORDER_H

#include <stdint.h>
#include <string.h>

enum {
    SA2_LOGITS_DIGITS = 3,
    SA2_LOGITS_DIGIT_BITS = 11,
    SA2_LOGITS_DIGIT_VALUES = 1 << SA2_LOGITS_DIGIT_BITS
};

/* The first `digits` digits of a number or an infinity. */
static inline uint32_t sa2_logits_digits(float value, int digits)
{
    float positive_zero = value + 0.0f; /* -0 equals 0 */
    uint32_t bits;
    memcpy(&bits, &positive_zero, sizeof bits);
    bits = bits >> 31 ? ~bits : bits | 0x80000000u;
    return (uint32_t)((uint64_t)bits >> (SA2_LOGITS_DIGITS - digits) * SA2_LOGITS_DIGIT_BITS);
}

#endif
