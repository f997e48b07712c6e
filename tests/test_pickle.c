/* Pickles of state dicts: what is read out of them, and that nothing else in one is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/base/limits.h"
#include "loader/pickle.h"
#include "tests/support/pickle_bytes.h"

/* Every test gets an empty one. */
static int create(void **state)
{
    *state = calloc(1, sizeof(test_pickle));
    return *state == NULL;
}

static int destroy(void **state)
{
    free(*state);
    return 0;
}

/* A copy of exact size, so that a byte read too far is seen. */
static sa2_status open_copy(sa2_pickle_state_dict *dict, const test_pickle *p, unsigned char **copy,
                            sa2_error *err)
{
    *copy = malloc(p->n > 0 ? p->n : 1);
    assert_non_null(*copy);
    memcpy(*copy, p->bytes, p->n);
    return sa2_pickle_open(dict, *copy, p->n, err);
}

static void expect_refusal(const test_pickle *p, sa2_status status, const char *message)
{
    sa2_pickle_state_dict dict;
    unsigned char *copy;
    sa2_error err = {0};
    sa2_status st = open_copy(&dict, p, &copy, &err);
    assert_string_equal(err.message, message);
    assert_int_equal(st, status);
    free(copy);
}

static void expect_text(const char *text, size_t n, const char *expected)
{
    assert_int_equal(n, strlen(expected));
    assert_memory_equal(text, expected, n);
}

/* ---- what is read ---- */

static void tensors_come_with_storage_shape_and_stride(void **state)
{
    test_pickle *p = *state;
    test_pickle_begin(p);
    test_pickle_tensor(p, "a.weight", "FloatStorage", "0", 6, 0, 2, (int64_t[]){2, 3},
                       (int64_t[]){3, 1});
    test_pickle_tensor(p, "b", "HalfStorage", "17", 100, 3, 1, (int64_t[]){5}, (int64_t[]){7});
    test_pickle_tensor(p, "scalar", "LongStorage", "2", 1, 0, 0, NULL, NULL);
    test_pickle_end(p);

    sa2_pickle_state_dict dict;
    unsigned char *copy;
    sa2_error err = {0};
    assert_int_equal(open_copy(&dict, p, &copy, &err), SA2_OK);
    assert_int_equal(dict.n_tensors, 3);
    const sa2_pickle_tensor *a = &dict.tensors[0], *b = &dict.tensors[1], *c = &dict.tensors[2];
    expect_text(a->name, a->name_bytes, "a.weight");
    expect_text(a->key, a->key_bytes, "0");
    assert_int_equal(a->storage, SA2_PICKLE_FLOAT);
    assert_int_equal(a->ndim, 2);
    assert_int_equal(a->shape[1], 3);
    assert_int_equal(a->stride[0], 3);
    expect_text(b->key, b->key_bytes, "17");
    assert_int_equal(b->storage, SA2_PICKLE_HALF);
    assert_int_equal(b->storage_count, 100);
    assert_int_equal(b->offset, 3);
    assert_int_equal(b->stride[0], 7);
    assert_int_equal(c->storage, SA2_PICKLE_LONG);
    assert_int_equal(c->ndim, 0);
    sa2_pickle_close(&dict);
    free(copy);
}

static void attributes_of_the_dict_are_ignored(void **state)
{
    test_pickle *p = *state;
    test_pickle_begin(p);
    test_pickle_tensor(p, "a", "FloatStorage", "0", 1, 0, 1, (int64_t[]){1}, (int64_t[]){1});
    test_pickle_op(p, 'u');
    test_pickle_op(p, '}');
    test_pickle_text(p, "_metadata");
    test_pickle_bytes(p, "}(", 2);
    test_pickle_text(p, "");
    test_pickle_op(p, '}');
    test_pickle_text(p, "version");
    test_pickle_bytes(p, "K\x01sus", 5);
    test_pickle_bytes(p, "b.", 2);

    sa2_pickle_state_dict dict;
    unsigned char *copy;
    sa2_error err = {0};
    assert_int_equal(open_copy(&dict, p, &copy, &err), SA2_OK);
    assert_int_equal(dict.n_tensors, 1);
    sa2_pickle_close(&dict);
    free(copy);
}

static void a_parameter_is_its_tensor(void **state)
{
    test_pickle *p = *state;
    test_pickle_bytes(p, "\x80\x02}", 3);
    test_pickle_text(p, "w");
    test_pickle_global(p, "torch._utils\n_rebuild_parameter\n");
    test_pickle_op(p, '(');
    test_pickle_tensor(p, NULL, "FloatStorage", "0", 4, 1, 1, (int64_t[]){3}, (int64_t[]){1});
    test_pickle_bytes(p, "\x88}tRs.", 6);

    sa2_pickle_state_dict dict;
    unsigned char *copy;
    sa2_error err = {0};
    assert_int_equal(open_copy(&dict, p, &copy, &err), SA2_OK);
    assert_int_equal(dict.n_tensors, 1);
    expect_text(dict.tensors[0].name, dict.tensors[0].name_bytes, "w");
    assert_int_equal(dict.tensors[0].offset, 1);
    sa2_pickle_close(&dict);
    free(copy);
}

static void a_value_can_be_remembered_and_used_again(void **state)
{
    test_pickle *p = *state;
    test_pickle_begin(p);
    test_pickle_tensor(p, "a", "FloatStorage", "0", 2, 0, 1, (int64_t[]){2}, (int64_t[]){1});
    test_pickle_bytes(p, "r\x20\x00\x00\x00", 5);
    test_pickle_text(p, "b");
    test_pickle_bytes(p, "j\x20\x00\x00\x00", 5);
    test_pickle_end(p);

    sa2_pickle_state_dict dict;
    unsigned char *copy;
    sa2_error err = {0};
    assert_int_equal(open_copy(&dict, p, &copy, &err), SA2_OK);
    assert_int_equal(dict.n_tensors, 2);
    expect_text(dict.tensors[0].name, dict.tensors[0].name_bytes, "a");
    expect_text(dict.tensors[1].name, dict.tensors[1].name_bytes, "b");
    expect_text(dict.tensors[1].key, dict.tensors[1].key_bytes, "0");
    sa2_pickle_close(&dict);
    free(copy);
}

/* ---- what is refused ---- */

static void code_is_refused_by_the_name_of_its_global(void **state)
{
    test_pickle *p = *state;
    test_pickle_bytes(p, "\x80\x02", 2);
    test_pickle_global(p, "os\nsystem\n");
    test_pickle_text(p, "echo hello");
    test_pickle_bytes(p, "\x85R.", 3);
    expect_refusal(p, SA2_ERR_UNSUPPORTED,
                   "pickle: byte 2, GLOBAL (0x63): os.system is not what a tensor needs");
}

static void a_global_that_is_no_function_is_not_called(void **state)
{
    test_pickle *p = *state;
    test_pickle_bytes(p, "\x80\x02", 2);
    test_pickle_global(p, "torch\nFloatStorage\n");
    test_pickle_bytes(p, ")R.", 3);
    expect_refusal(p, SA2_ERR_UNSUPPORTED,
                   "pickle: byte 23, REDUCE (0x52): a call of torch.FloatStorage");
    p->n = 0;
    test_pickle_bytes(p, "\x80\x02K\x01)R.", 7);
    expect_refusal(p, SA2_ERR_UNSUPPORTED, "pickle: byte 5, REDUCE (0x52): a call of an int");
    p->n = 0;
    test_pickle_bytes(p, "\x80\x02", 2);
    test_pickle_global(p, "collections\nOrderedDict\n");
    test_pickle_bytes(p, "K\x01\x85R.", 5);
    expect_refusal(p, SA2_ERR_FORMAT, "pickle: byte 30, REDUCE (0x52): OrderedDict with arguments");
}

static void other_opcodes_are_refused_by_name(void **state)
{
    static const struct {
        int op;
        const char *message;
    } cases[] = {
        {'i', "pickle: byte 2, INST (0x69): not an opcode that a dict of tensors needs"},
        {'o', "pickle: byte 2, OBJ (0x6f): not an opcode that a dict of tensors needs"},
        {0x81, "pickle: byte 2, NEWOBJ (0x81): not an opcode that a dict of tensors needs"},
        {0x93, "pickle: byte 2, STACK_GLOBAL (0x93): not an opcode that a dict of tensors needs"},
        {0x84, "pickle: byte 2, EXT4 (0x84): not an opcode that a dict of tensors needs"},
        {'2', "pickle: byte 2, DUP (0x32): not an opcode that a dict of tensors needs"},
        {0xff, "pickle: byte 2, no opcode (0xff): not an opcode that a dict of tensors needs"},
        {0x00, "pickle: byte 2, no opcode (0x00): not an opcode that a dict of tensors needs"},
    };
    test_pickle *p = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        p->n = 0;
        test_pickle_bytes(p, "\x80\x02", 2);
        test_pickle_op(p, cases[i].op);
        test_pickle_op(p, '.');
        expect_refusal(p, SA2_ERR_UNSUPPORTED, cases[i].message);
    }
}

static void depth_is_limited(void **state)
{
    test_pickle *p = *state;
    test_pickle_bytes(p, "\x80\x02", 2);
    for (int i = 0; i < 100000; i++)
        test_pickle_op(p, '(');
    test_pickle_op(p, '.');
    expect_refusal(p, SA2_ERR_LIMIT,
                   "pickle: byte 66, MARK (0x28): more than 64 open tuples and dicts");
}

/* Tuples of tuples double at every step when they are copied; here a value is one entry, whatever
 * it holds. */
static void a_memo_bomb_costs_its_own_bytes(void **state)
{
    test_pickle *p = *state;
    test_pickle_bytes(p, "\x80\x02)q\x00", 5);
    for (int i = 0; i < 10000; i++)
        test_pickle_bytes(p, "h\x00h\x00\x86q\x00", 7);
    test_pickle_op(p, '.');
    expect_refusal(p, SA2_ERR_FORMAT,
                   "pickle: byte 70005, STOP: 10001 values on the stack, 0 bytes behind");
    p->n = 0;
    test_pickle_bytes(p, "\x80\x02)r\xff\xff\xff\xff.", 9);
    expect_refusal(p, SA2_ERR_LIMIT,
                   "pickle: byte 3, LONG_BINPUT (0x72): memo index 4294967295, a pickle of 9 bytes "
                   "can use 9");
    p->n = 0;
    test_pickle_bytes(p, "\x80\x02h\x05.", 5);
    expect_refusal(p, SA2_ERR_FORMAT,
                   "pickle: byte 2, BINGET (0x68): memo index 5 was never stored");
}

static void the_stack_is_limited(void **state)
{
    test_pickle *p = *state;
    test_pickle_bytes(p, "\x80\x02", 2);
    for (int i = 0; i < 70000; i++)
        test_pickle_op(p, 'N');
    test_pickle_op(p, '.');
    expect_refusal(p, SA2_ERR_LIMIT,
                   "pickle: byte 65538, NONE (0x4e): more than 65536 values on the stack");
}

static void a_stack_that_runs_out_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        const char *message;
    } cases[] = {
        {"\x80\x02s.", "pickle: byte 2, SETITEM (0x73): too few values on the stack"},
        {"\x80\x02u.", "pickle: byte 2, SETITEMS (0x75): no mark on the stack"},
        {"\x80\x02t.", "pickle: byte 2, TUPLE (0x74): no mark on the stack"},
        {"\x80\x02N\x86.", "pickle: byte 3, TUPLE2 (0x86): too few values on the stack"},
        {"\x80\x02N(N\x86.", "pickle: byte 5, TUPLE2 (0x86): too few values on the stack"},
        {"\x80\x02NNNs.", "pickle: byte 5, SETITEM (0x73): there is no dict to set items of"},
        {"\x80\x02}(Nu.", "pickle: byte 5, SETITEMS (0x75): a key without an item"},
        {"\x80\x02}((NNu.", "pickle: byte 7, SETITEMS (0x75): there is no dict to set items of"},
        {"\x80\x02)R.", "pickle: byte 3, REDUCE (0x52): no function and tuple of arguments on the "
                        "stack"},
        {"\x80\x02}b.", "pickle: byte 3, BUILD (0x62): attributes can only be those of a dict"},
        {"\x80\x02N}b.", "pickle: byte 4, BUILD (0x62): attributes can only be those of a dict"},
        {"\x80\x02NQ.", "pickle: byte 3, BINPERSID (0x51): no tuple that describes a storage"},
        {"\x80\x02q\x01.", "pickle: byte 2, BINPUT (0x71): nothing to remember"},
    };
    test_pickle *p = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        p->n = 0;
        test_pickle_bytes(p, cases[i].bytes, strlen(cases[i].bytes));
        expect_refusal(p, SA2_ERR_FORMAT, cases[i].message);
    }
}

static void a_pickle_that_is_cut_short_is_refused_at_every_byte(void **state)
{
    test_pickle *p = *state;
    test_pickle_begin(p);
    test_pickle_tensor(p, "a", "FloatStorage", "0", 6, 0, 2, (int64_t[]){2, 3}, (int64_t[]){3, 1});
    test_pickle_end(p);
    for (size_t whole = p->n; p->n-- > 0;) {
        sa2_pickle_state_dict dict;
        unsigned char *copy;
        sa2_error err = {0};
        assert_true(p->n < whole);
        assert_int_equal(open_copy(&dict, p, &copy, &err), SA2_ERR_FORMAT);
        free(copy);
    }
}

static void tensors_outside_their_storage_are_refused(void **state)
{
    static const struct {
        int64_t count, offset;
        int ndim;
        int64_t shape[5], stride[5];
        sa2_status status;
        const char *message;
    } cases[] = {
        {6,
         1,
         2,
         {2, 3},
         {3, 1},
         SA2_ERR_FORMAT,
         "tensor of 6 elements at 1 to 6 of a storage of 6"},
        {6, -1, 1, {2}, {1}, SA2_ERR_FORMAT, "tensor of 2 elements at -1 to 0 of a storage of 6"},
        {6, 0, 1, {7}, {0}, SA2_ERR_FORMAT, "tensor of 7 elements at 0 to 0 of a storage of 6"},
        {6,
         0,
         2,
         {2, 3},
         {3, -1},
         SA2_ERR_FORMAT,
         "dimension 1 of a tensor: an int 3 with stride an int -1"},
        {6,
         0,
         1,
         {0},
         {1},
         SA2_ERR_FORMAT,
         "dimension 0 of a tensor: an int 0 with stride an int 1"},
        {6,
         0,
         1,
         {-4},
         {1},
         SA2_ERR_FORMAT,
         "dimension 0 of a tensor: an int -4 with stride an int 1"},
        {INT64_MAX,
         0,
         2,
         {INT64_C(1) << 33, INT64_C(1) << 33},
         {1, 1},
         SA2_ERR_FORMAT,
         "the dimensions of a tensor overflow 64 bits"},
        {INT64_MAX,
         0,
         1,
         {3},
         {INT64_MAX},
         SA2_ERR_FORMAT,
         "the dimensions of a tensor overflow 64 bits"},
        {INT64_MAX,
         INT64_MAX,
         1,
         {3},
         {1},
         SA2_ERR_FORMAT,
         "the dimensions of a tensor overflow 64 bits"},
        {-1, 0, 1, {1}, {1}, SA2_ERR_FORMAT, NULL},
        {6,
         0,
         5,
         {1, 1, 1, 1, 1},
         {1, 1, 1, 1, 1},
         SA2_ERR_LIMIT,
         "tensor of 5 dimensions, 4 can be used"},
    };
    test_pickle *p = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        p->n = 0;
        test_pickle_begin(p);
        test_pickle_tensor(p, "a", "FloatStorage", "0", cases[i].count, cases[i].offset,
                           cases[i].ndim, cases[i].shape, cases[i].stride);
        test_pickle_end(p);
        sa2_pickle_state_dict dict;
        unsigned char *copy;
        sa2_error err = {0};
        assert_int_equal(open_copy(&dict, p, &copy, &err), cases[i].status);
        const char *message =
            cases[i].message != NULL ? cases[i].message : "storage of -1 elements";
        const char *said = strstr(err.message, "): ");
        assert_non_null(said);
        assert_string_equal(said + 3, message);
        free(copy);
    }
}

static void what_is_no_dict_of_tensors_is_refused(void **state)
{
    test_pickle *p = *state;
    test_pickle_bytes(p, "\x80\x02).", 4);
    expect_refusal(p, SA2_ERR_FORMAT, "pickle: it is a tuple, a dict of tensors expected");
    p->n = 0;
    test_pickle_begin(p);
    test_pickle_text(p, "epoch");
    test_pickle_int(p, 7);
    test_pickle_end(p);
    expect_refusal(p, SA2_ERR_FORMAT, "pickle: item epoch is an int, a tensor expected");
    p->n = 0;
    test_pickle_begin(p);
    test_pickle_int(p, 7);
    test_pickle_int(p, 7);
    test_pickle_end(p);
    expect_refusal(p, SA2_ERR_FORMAT, "pickle: item 0 is called by an int, not a text");
    p->n = 0;
    test_pickle_bytes(p, "\x80\x02}.}", 5);
    expect_refusal(p, SA2_ERR_FORMAT,
                   "pickle: byte 3, STOP: 1 values on the stack, 1 bytes behind");
    p->n = 0;
    test_pickle_bytes(p, "(dp0", 4);
    expect_refusal(p, SA2_ERR_FORMAT, "pickle: does not begin with PROTO 2 to 5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tensors_come_with_storage_shape_and_stride, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(attributes_of_the_dict_are_ignored, create, destroy),
        cmocka_unit_test_setup_teardown(a_parameter_is_its_tensor, create, destroy),
        cmocka_unit_test_setup_teardown(a_value_can_be_remembered_and_used_again, create, destroy),
        cmocka_unit_test_setup_teardown(code_is_refused_by_the_name_of_its_global, create, destroy),
        cmocka_unit_test_setup_teardown(a_global_that_is_no_function_is_not_called, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(other_opcodes_are_refused_by_name, create, destroy),
        cmocka_unit_test_setup_teardown(depth_is_limited, create, destroy),
        cmocka_unit_test_setup_teardown(a_memo_bomb_costs_its_own_bytes, create, destroy),
        cmocka_unit_test_setup_teardown(the_stack_is_limited, create, destroy),
        cmocka_unit_test_setup_teardown(a_stack_that_runs_out_is_refused, create, destroy),
        cmocka_unit_test_setup_teardown(a_pickle_that_is_cut_short_is_refused_at_every_byte, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(tensors_outside_their_storage_are_refused, create, destroy),
        cmocka_unit_test_setup_teardown(what_is_no_dict_of_tensors_is_refused, create, destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
