#include <math.h>
#include <stdio.h>

#include "tools/golden_case.h"

static double value_at(const sa2_tensor *x, int64_t i)
{
    switch (x->dtype) {
    case SA2_BF16:
        return sa2_bf16_to_f32(((const uint16_t *)x->data)[i]);
    case SA2_I32:
        return ((const int32_t *)x->data)[i];
    case SA2_U8:
    case SA2_I8:
    case SA2_I4:
    case SA2_E4M3:
    case SA2_DTYPES:
        return ((const uint8_t *)x->data)[i];
    case SA2_F32:
        break;
    }
    return ((const float *)x->data)[i];
}

/* "[3, 17]": where element i lies. */
static void write_place(char *text, size_t bytes, const sa2_tensor *x, int64_t i)
{
    int64_t place[SA2_MAX_DIMS];
    for (int d = x->ndim - 1; d >= 0; d--) {
        place[d] = i % x->shape[d];
        i /= x->shape[d];
    }
    size_t used = 0;
    for (int d = 0; d < x->ndim && used < bytes; d++)
        used += (size_t)snprintf(text + used, bytes - used, "%s%lld", d == 0 ? "[" : ", ",
                                 (long long)place[d]);
    if (used < bytes)
        snprintf(text + used, bytes - used, "]");
}

/* Element i against its bound; the largest excess over a bound so far is in *worst. */
static void compare_element(sa2_golden_result *result, double found, double expected, double *worst,
                            int64_t *worst_at, int64_t i)
{
    double difference = found == expected ? 0.0 : fabs(found - expected);
    if (!isfinite(difference)) /* one of them NaN or infinite, and not both alike */
        difference = INFINITY;
    double bound = result->tolerance.abs;
    if (result->tolerance.rel > 0.0 && isfinite(expected))
        bound += result->tolerance.rel * fabs(expected);
    if (difference > bound)
        result->n_wrong++;
    if (difference > result->largest_abs)
        result->largest_abs = difference;
    if (expected != 0.0 && difference > result->largest_rel * fabs(expected))
        result->largest_rel = difference / fabs(expected);
    if (difference - bound > *worst) {
        *worst = difference - bound;
        *worst_at = i;
    }
}

static void compare_values(sa2_golden_result *result, const sa2_tensor *found,
                           const sa2_tensor *expected)
{
    const sa2_tolerance *tolerance = &result->tolerance;
    double worst = -INFINITY, error = 0.0, size = 0.0;
    int64_t worst_at = 0, n = sa2_tensor_count(expected);
    for (int64_t i = 0; i < n; i++) {
        double x = value_at(found, i), y = value_at(expected, i);
        compare_element(result, x, y, &worst, &worst_at, i);
        if (x != y)
            error += (x - y) * (x - y);
        if (isfinite(y))
            size += y * y;
    }
    if (error > 0.0 || error != error)
        result->l2 = size > 0.0 && error == error ? sqrt(error / size) : INFINITY;
    char place[96];
    if (result->n_wrong > 0) {
        write_place(place, sizeof place, expected, worst_at);
        snprintf(result->why, sizeof result->why,
                 "%lld of %lld elements, worst %s: %.9g found, %.9g expected, differs by %.3g, "
                 "allowed %.3g + %.3g |expected|%s",
                 (long long)result->n_wrong, (long long)n, place, value_at(found, worst_at),
                 value_at(expected, worst_at),
                 fabs(value_at(found, worst_at) - value_at(expected, worst_at)), tolerance->abs,
                 tolerance->rel, tolerance->known ? "" : " (the case states no tolerance)");
    } else if (tolerance->l2 >= 0.0 && !(result->l2 <= tolerance->l2)) {
        snprintf(result->why, sizeof result->why,
                 "||difference|| is %.3g of ||expected||, allowed %.3g", result->l2, tolerance->l2);
    }
    result->ok = result->why[0] == '\0';
}

void sa2_golden_compare(const sa2_golden_case *golden, const char *output, sa2_dtype dtype,
                        sa2_tensor found, sa2_golden_result *result)
{
    sa2_tensor expected = sa2_golden_output(golden, output);
    *result = (sa2_golden_result){.name = output};
    result->tolerance = sa2_golden_tolerance(golden, output, dtype);
    if (expected.data == NULL) {
        snprintf(result->why, sizeof result->why, "the case has no out.%s", output);
    } else if (found.data == NULL || !sa2_tensor_same_shape(&found, &expected)) {
        char is[96] = "nothing", want[96];
        if (found.data != NULL)
            sa2_tensor_describe(&found, is, sizeof is);
        snprintf(result->why, sizeof result->why, "%s found, %s expected", is,
                 sa2_tensor_describe(&expected, want, sizeof want));
    } else {
        compare_values(result, &found, &expected);
    }
}
