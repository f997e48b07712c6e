/* Golden cases: what is no case is refused, and a difference outside the tolerance is found. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/golden_case.h"

/* A safetensors file in memory: the header, then 40 bytes of values. */
typedef struct file {
    unsigned char bytes[2048];
    size_t n;
} file;

static const float expected[6] = {1.0f, -2.0f, 0.0f, 4.0f, 0.5f, 100.0f};

/* Metadata with single quotes, inside which double ones need no backslash, as JSON. Returns `text`. */
static const char *quoted(char *text, size_t bytes, const char *metadata)
{
    size_t n = 0;
    bool inside = false;
    for (const char *c = metadata; *c != '\0' && n + 2 < bytes; c++) {
        inside = *c == '\'' ? !inside : inside;
        if (*c == '"' && inside)
            text[n++] = '\\';
        text[n++] = *c == '\'' ? '"' : *c;
    }
    text[n] = '\0';
    return text;
}

/* out.x f32 [2, 3] = expected, out.ids i32 [2] = {7, -7}, in.x f32 [2]. */
static file make(const char *metadata)
{
    char text[1024];
    static const int32_t ids[2] = {7, -7};
    static const float input[2] = {3.0f, 4.0f};
    file f;
    int n = snprintf((char *)f.bytes + 8, sizeof f.bytes - 8,
                     "{\"__metadata__\":{%s},"
                     "\"out.x\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                     "\"out.ids\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[24,32]},"
                     "\"in.x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[32,40]}}",
                     quoted(text, sizeof text, metadata));
    for (int i = 0; i < 8; i++)
        f.bytes[i] = (unsigned char)((uint64_t)n >> 8 * i);
    memcpy(f.bytes + 8 + n, expected, 24);
    memcpy(f.bytes + 8 + n + 24, ids, 8);
    memcpy(f.bytes + 8 + n + 32, input, 8);
    f.n = 8 + (size_t)n + 40;
    return f;
}

static const char usual[] =
    "'part':'p','case':'c','seed':'12',"
    "'tolerance':'{\"out.x\": {\"abs\": 0.01, \"rel\": 0.1, \"l2\": 0.001}}',"
    "'tolerance_bf16':'{\"out.x\": {\"abs\": 1, \"rel\": 0}}'";

static sa2_golden_case *open_case(const file *f)
{
    sa2_golden_case *golden;
    sa2_error err = {0};
    if (sa2_golden_case_parse(&golden, f->bytes, f->n, "a.safetensors", &err) != SA2_OK)
        fail_msg("%s", err.message);
    return golden;
}

static void a_case_gives_its_texts_and_tensors(void **state)
{
    (void)state;
    file f = make(usual);
    sa2_golden_case *golden = open_case(&f);
    assert_string_equal(sa2_golden_part(golden), "p");
    assert_string_equal(sa2_golden_name(golden), "c");
    assert_string_equal(sa2_golden_origin(golden), "a.safetensors");
    assert_null(sa2_golden_text(golden, "none"));
    assert_int_equal(sa2_golden_outputs(golden), 2);
    for (int i = 0; i < 2; i++)
        assert_non_null(sa2_golden_output(golden, sa2_golden_output_name(golden, i)).data);
    assert_null(sa2_golden_output_name(golden, 2));
    assert_null(sa2_golden_input(golden, "ids").data);
    assert_true(((const float *)sa2_golden_input(golden, "x").data)[1] == 4.0f);

    sa2_tensor x;
    sa2_error err = {0};
    int64_t number;
    assert_int_equal(sa2_golden_number(golden, "seed", 0, 12, &number, &err), SA2_OK);
    assert_int_equal(number, 12);
    assert_int_equal(sa2_golden_number(golden, "seed", 0, 11, &number, &err), SA2_ERR_FORMAT);
    assert_string_equal(err.message,
                        "a.safetensors: metadata seed is \"12\", a number from 0 to 11 expected");
    assert_int_equal(sa2_golden_number(golden, "case", 0, 11, &number, &err), SA2_ERR_FORMAT);
    assert_int_equal(sa2_golden_number(golden, "none", 0, 11, &number, &err), SA2_ERR_FORMAT);
    assert_int_equal(sa2_golden_expect(golden, "x", SA2_F32, 1, (int64_t[]){2}, &x, &err), SA2_OK);
    assert_int_equal(sa2_golden_expect(golden, "x", SA2_F32, 1, (int64_t[]){3}, &x, &err),
                     SA2_ERR_FORMAT);
    assert_int_equal(sa2_golden_expect(golden, "x", SA2_I32, 1, NULL, &x, &err), SA2_ERR_FORMAT);
    assert_int_equal(sa2_golden_expect(golden, "y", SA2_F32, 1, NULL, &x, &err), SA2_ERR_FORMAT);
    assert_string_equal(err.message, "a.safetensors: no tensor in.y");
    sa2_golden_case_close(golden);
}

static void tolerances_follow_the_dtype(void **state)
{
    (void)state;
    file f = make(usual);
    sa2_golden_case *golden = open_case(&f);
    sa2_tolerance tight = sa2_golden_tolerance(golden, "x", SA2_F32);
    assert_true(tight.known && tight.abs == 0.01 && tight.rel == 0.1 && tight.l2 == 0.001);
    sa2_tolerance loose = sa2_golden_tolerance(golden, "x", SA2_BF16);
    assert_true(loose.known && loose.abs == 1.0 && loose.rel == 0.0 && loose.l2 < 0.0);
    assert_false(sa2_golden_tolerance(golden, "ids", SA2_F32).known);
    sa2_golden_case_close(golden);
    f = make("'part':'p','tolerance':'{\"out.x\": {\"abs\": 0.01, \"rel\": 0.1}}'");
    golden = open_case(&f);
    assert_true(sa2_golden_tolerance(golden, "x", SA2_BF16).abs == 0.01);
    assert_string_equal(sa2_golden_name(golden), "a.safetensors");
    sa2_golden_case_close(golden);
}

static sa2_golden_result compare(const sa2_golden_case *golden, sa2_dtype dtype, const float *x)
{
    sa2_golden_result result;
    float found[6];
    memcpy(found, x, sizeof found);
    sa2_golden_compare(golden, "x", dtype, sa2_tensor_2d(found, SA2_F32, 2, 3), &result);
    return result;
}

static void an_element_outside_its_bound_fails(void **state)
{
    (void)state;
    file f = make("'part':'p','tolerance':'{\"out.x\": {\"abs\": 0.01, \"rel\": 0.1}}'");
    sa2_golden_case *golden = open_case(&f);
    assert_true(compare(golden, SA2_F32, expected).ok);
    float x[6];
    memcpy(x, expected, sizeof x);
    x[5] = 110.0f; /* allowed 0.01 + 10 */
    x[2] = 0.009f; /* allowed 0.01 */
    sa2_golden_result result = compare(golden, SA2_F32, x);
    assert_true(result.ok);
    assert_string_equal(result.why, "");
    assert_true(result.largest_abs == 10.0);
    assert_true(fabs(result.largest_rel - 0.1) < 1e-7);
    assert_true(fabs(result.l2 - 10.0 / sqrt(1 + 4 + 16 + 0.25 + 10000)) < 1e-6);
    x[2] = 0.02f; /* outside by 0.01 */
    x[1] = -2.5f; /* outside by 0.29 */
    result = compare(golden, SA2_F32, x);
    assert_false(result.ok);
    assert_int_equal(result.n_wrong, 2);
    assert_string_equal(result.why,
                        "2 of 6 elements, worst [0, 1]: -2.5 found, -2 expected, differs "
                        "by 0.5, allowed 0.01 + 0.1 |expected|");
    sa2_golden_case_close(golden);
}

static void a_small_difference_everywhere_fails_by_its_norm(void **state)
{
    (void)state;
    file f = make(usual);
    sa2_golden_case *golden = open_case(&f);
    float x[6];
    for (int i = 0; i < 6; i++)
        x[i] = expected[i] * 1.0009f;
    assert_true(compare(golden, SA2_F32, x).ok);
    for (int i = 0; i < 6; i++)
        x[i] = expected[i] * 1.0011f; /* every element is well inside 0.01 + 10 % */
    sa2_golden_result result = compare(golden, SA2_F32, x);
    assert_false(result.ok);
    assert_int_equal(result.n_wrong, 0);
    assert_string_equal(result.why, "||difference|| is 0.0011 of ||expected||, allowed 0.001");
    assert_true(compare(golden, SA2_BF16, x).ok);
    sa2_golden_case_close(golden);
}

static void what_is_no_number_never_passes(void **state)
{
    (void)state;
    static const float values[] = {NAN, INFINITY, -INFINITY};
    file f = make("'part':'p','tolerance':'{\"out.x\": {\"abs\": 1e308, \"rel\": 1}}'");
    sa2_golden_case *golden = open_case(&f);
    for (int i = 0; i < 3; i++) {
        float x[6];
        memcpy(x, expected, sizeof x);
        x[4] = values[i];
        sa2_golden_result result = compare(golden, SA2_F32, x);
        assert_false(result.ok);
        assert_int_equal(result.n_wrong, 1);
        assert_non_null(strstr(result.why, "worst [1, 1]"));
    }
    sa2_golden_case_close(golden);
}

static void integers_without_a_tolerance_must_be_equal(void **state)
{
    (void)state;
    file f = make(usual);
    sa2_golden_case *golden = open_case(&f);
    sa2_golden_result result;
    int32_t ids[2] = {7, -7};
    sa2_golden_compare(golden, "ids", SA2_F32, sa2_tensor_1d(ids, SA2_I32, 2), &result);
    assert_true(result.ok);
    ids[1] = -6;
    sa2_golden_compare(golden, "ids", SA2_F32, sa2_tensor_1d(ids, SA2_I32, 2), &result);
    assert_false(result.ok);
    sa2_golden_case_close(golden);
}

static void another_shape_and_an_unknown_output_fail(void **state)
{
    (void)state;
    file f = make(usual);
    sa2_golden_case *golden = open_case(&f);
    sa2_golden_result result;
    float x[6] = {0};
    sa2_golden_compare(golden, "x", SA2_F32, sa2_tensor_2d(x, SA2_F32, 3, 2), &result);
    assert_false(result.ok);
    assert_string_equal(result.why, "f32 [3, 2] found, f32 [2, 3] expected");
    sa2_golden_compare(golden, "x", SA2_F32, (sa2_tensor){0}, &result);
    assert_false(result.ok);
    sa2_golden_compare(golden, "y", SA2_F32, sa2_tensor_1d(x, SA2_F32, 6), &result);
    assert_false(result.ok);
    assert_string_equal(result.why, "the case has no out.y");
    sa2_golden_case_close(golden);
}

static void bf16_values_are_compared_by_their_value(void **state)
{
    (void)state;
    file f = make(usual);
    sa2_golden_case *golden = open_case(&f);
    uint16_t x[6];
    for (int i = 0; i < 6; i++)
        x[i] = sa2_f32_to_bf16(expected[i]); /* all of them are bf16 values */
    sa2_golden_result result;
    sa2_golden_compare(golden, "x", SA2_BF16, sa2_tensor_2d(x, SA2_BF16, 2, 3), &result);
    assert_true(result.ok && result.largest_abs == 0.0);
    sa2_golden_case_close(golden);
}

static void what_is_no_case_is_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *metadata, *words;
    } rows[] = {
        {"'case':'c'", "not a golden case: no metadata `part`"},
        {"'part':'p','tolerance':'[1]'", "metadata tolerance is no JSON object"},
        {"'part':'p','tolerance':'{'", "metadata tolerance is no JSON object"},
        {"'part':'p','tolerance_bf16':'{\"out.x\": {\"abs\": 1}}'", "tolerance_bf16 of out.x"},
        {"'part':'p','tolerance':'{\"out.x\": {\"abs\": -1, \"rel\": 0}}'", "tolerance of out.x"},
        {"'part':'p','tolerance':'{\"out.x\": 1}'", "tolerance of out.x"},
    };
    sa2_golden_case *golden;
    sa2_error err = {0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        file f = make(rows[i].metadata);
        assert_int_equal(sa2_golden_case_parse(&golden, f.bytes, f.n, "a", &err), SA2_ERR_FORMAT);
        assert_null(golden);
        if (strstr(err.message, rows[i].words) == NULL)
            fail_msg("\"%s\" expected in \"%s\"", rows[i].words, err.message);
    }
    file f = make(usual);
    char *name = strstr((char *)f.bytes + 8, "out.ids"); /* a tensor of another kind */
    memcpy(name, "sth.ids", 7);
    assert_int_equal(sa2_golden_case_parse(&golden, f.bytes, f.n, "a", &err), SA2_ERR_FORMAT);
    assert_non_null(strstr(err.message, "tensor sth.ids is neither in.* nor out.*"));
    f = make(usual);
    assert_int_equal(sa2_golden_case_parse(&golden, f.bytes, f.n - 1, "a", &err), SA2_ERR_FORMAT);
    assert_int_equal(sa2_golden_case_parse(&golden, "no case", 7, "a", &err), SA2_ERR_FORMAT);
    assert_int_equal(sa2_golden_case_open(&golden, "/none/a.safetensors", &err), SA2_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_case_gives_its_texts_and_tensors),
        cmocka_unit_test(tolerances_follow_the_dtype),
        cmocka_unit_test(an_element_outside_its_bound_fails),
        cmocka_unit_test(a_small_difference_everywhere_fails_by_its_norm),
        cmocka_unit_test(what_is_no_number_never_passes),
        cmocka_unit_test(integers_without_a_tolerance_must_be_equal),
        cmocka_unit_test(another_shape_and_an_unknown_output_fail),
        cmocka_unit_test(bf16_values_are_compared_by_their_value),
        cmocka_unit_test(what_is_no_case_is_refused_with_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
