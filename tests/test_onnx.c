/* ONNX files as protobuf: initializers and nodes of every form, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/base/limits.h"
#include "loader/onnx.h"
#include "tests/support/protobuf_bytes.h"
#include "tests/support/test_files.h"

/* Field numbers of onnx.proto3. */
enum {
    GRAPH = 7,
    NODE = 1,
    INITIALIZER = 5,
    SPARSE_INITIALIZER = 15,
    INPUT = 1,
    OUTPUT = 2,
    NAME = 3,
    OP_TYPE = 4,
    DIMS = 1,
    DATA_TYPE = 2,
    SEGMENT = 3,
    FLOAT_DATA = 4,
    TENSOR_NAME = 8,
    RAW_DATA = 9,
    EXTERNAL_DATA = 13,
    DATA_LOCATION = 14,
};

enum { FLOAT = 1, INT64 = 7 };

static sa2_onnx_text text_of(const char *text)
{
    return (sa2_onnx_text){text, strlen(text)};
}

/* A copy of exact size, so that a byte read too far is seen. The graph looks into *copy. */
static sa2_status open_copy(sa2_onnx_graph *graph, const void *bytes, size_t n,
                            unsigned char **copy, sa2_error *err)
{
    *copy = malloc(n > 0 ? n : 1);
    assert_non_null(*copy);
    if (n > 0)
        memcpy(*copy, bytes, n);
    return sa2_onnx_open(graph, *copy, n, err);
}

static void expect_model_refused(const test_message *model, sa2_status status, const char *message)
{
    sa2_onnx_graph graph;
    unsigned char *copy;
    sa2_error err = {0};
    sa2_status st = open_copy(&graph, model->bytes, model->n, &copy, &err);
    free(copy);
    assert_string_equal(err.message, message);
    assert_int_equal(st, status);
}

static void expect_graph_refused(const test_message *graph, sa2_status status, const char *message)
{
    test_message model = {.n = 0};
    test_message_inner(&model, GRAPH, graph);
    expect_model_refused(&model, status, message);
}

static void expect_initializer_refused(const test_message *t, sa2_status status,
                                       const char *message)
{
    test_message graph = {.n = 0};
    test_message_inner(&graph, INITIALIZER, t);
    expect_graph_refused(&graph, status, message);
}

/* w [2, 2] of floats, without its values. */
static test_message begin_initializer(void)
{
    test_message t = {.n = 0};
    test_message_number(&t, DIMS, 2);
    test_message_number(&t, DIMS, 2);
    test_message_number(&t, DATA_TYPE, FLOAT);
    test_message_text(&t, TENSOR_NAME, "w");
    return t;
}

/* ---- what is read ---- */

static void files_of_an_exporter_have_their_nodes_and_initializers(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        size_t nodes, initializers;
        const char *node, *op_type, *input; /* its second */
        int64_t shape[2];
    } cases[] = {
        {"campplus.onnx",
         3206,
         617,
         "/xvector/block1/tdnnd1/linear1/Conv",
         "Conv",
         "onnx::Conv_4462",
         {32, 32}},
        {"speech_tokenizer_v2_25hz.onnx",
         586,
         38,
         "/blocks.1/mlp/mlp.0/MatMul",
         "MatMul",
         "onnx::MatMul_2324",
         {128, 512}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[512], relative[128];
        size_t n;
        sa2_onnx_graph graph;
        const sa2_onnx_node *node = NULL;
        snprintf(relative, sizeof relative, "golden/tiny_checkpoint/token2wav/%s", cases[i].file);
        char *bytes = test_read_file(test_data(path, sizeof path, relative), &n);
        assert_int_equal(sa2_onnx_open(&graph, bytes, n, NULL), SA2_OK);
        assert_int_equal(graph.n_nodes, cases[i].nodes);
        assert_int_equal(graph.n_initializers, cases[i].initializers);
        for (size_t k = 0; k < graph.n_nodes; k++)
            if (sa2_onnx_is(graph.nodes[k].name, cases[i].node))
                node = &graph.nodes[k];
        assert_non_null(node);
        assert_true(sa2_onnx_is(node->op_type, cases[i].op_type));
        assert_true(node->n_inputs >= 2 && node->n_outputs == 1);
        assert_true(sa2_onnx_is(node->inputs[1], cases[i].input));
        const sa2_onnx_initializer *t = sa2_onnx_find(&graph, node->inputs[1]);
        assert_non_null(t);
        assert_int_equal(t->data_type, SA2_ONNX_FLOAT);
        assert_int_equal(t->shape[0], cases[i].shape[0]);
        assert_int_equal(t->shape[1], cases[i].shape[1]);
        assert_non_null(t->values);
        sa2_onnx_close(&graph);
        free(bytes);
    }
}

/* Values in one raw piece, in one packed piece, number by number, and in several of these; dimensions
 * one by one or packed. */
static void values_are_read_in_every_form(void **state)
{
    (void)state;
    static const float want[] = {1.5f, -2.0f, 0.0f, 3e38f};
    for (int form = 0; form < 5; form++) {
        test_message t = {.n = 0}, graph = {.n = 0}, model = {.n = 0};
        test_message_text(&t, TENSOR_NAME, "w");
        if (form == 0)
            test_message_bytes(&t, DIMS, "\2\2", 2);
        else
            test_message_number(&t, DIMS, 4);
        test_message_number(&t, DATA_TYPE, FLOAT);
        if (form == 0)
            test_message_bytes(&t, RAW_DATA, want, sizeof want);
        if (form == 1)
            test_message_bytes(&t, FLOAT_DATA, want, sizeof want);
        for (int i = 0; form == 2 && i < 4; i++) {
            test_message_varint(&t, FLOAT_DATA << 3 | 5);
            test_message_raw(&t, &want[i], 4);
        }
        if (form == 3) {
            test_message_bytes(&t, RAW_DATA, want, 6);
            test_message_bytes(&t, RAW_DATA, "", 0);
            test_message_bytes(&t, RAW_DATA, (const char *)want + 6, 10);
        }
        if (form == 4) {
            test_message_bytes(&t, FLOAT_DATA, want, 12);
            test_message_varint(&t, FLOAT_DATA << 3 | 5);
            test_message_raw(&t, &want[3], 4);
        }
        test_message_inner(&graph, INITIALIZER, &t);
        test_message_inner(&model, GRAPH, &graph);
        sa2_onnx_graph opened;
        unsigned char *copy;
        sa2_error err = {0};
        open_copy(&opened, model.bytes, model.n, &copy, &err);
        assert_string_equal(err.message, "");
        const sa2_onnx_initializer *w = sa2_onnx_find(&opened, text_of("w"));
        assert_non_null(w);
        assert_int_equal(w->count, 4);
        assert_int_equal(w->ndim, form == 0 ? 2 : 1);
        assert_memory_equal(w->values, want, sizeof want);
        sa2_onnx_close(&opened);
        free(copy);
    }
}

static void scalars_empty_tensors_and_other_types_are_read(void **state)
{
    (void)state;
    test_message scalar = {.n = 0}, empty = {.n = 0}, whole = {.n = 0}, graph = {.n = 0},
                 model = {.n = 0};
    test_message_text(&scalar, TENSOR_NAME, "scalar");
    test_message_number(&scalar, DATA_TYPE, FLOAT);
    test_message_bytes(&scalar, RAW_DATA, "\0\0\x80\x3f", 4);
    test_message_text(&empty, TENSOR_NAME, "empty");
    test_message_number(&empty, DATA_TYPE, FLOAT);
    test_message_number(&empty, DIMS, 0);
    test_message_text(&whole, TENSOR_NAME, "whole");
    test_message_number(&whole, DATA_TYPE, INT64);
    test_message_number(&whole, DIMS, 1);
    test_message_bytes(&whole, RAW_DATA, "\1\0\0\0\0\0\0\0", 8);
    test_message_inner(&graph, INITIALIZER, &whole);
    test_message_inner(&graph, INITIALIZER, &scalar);
    test_message_inner(&graph, INITIALIZER, &empty);
    test_message_text(&graph, 2, "a name of the graph, which nobody needs");
    test_message_inner(&model, GRAPH, &graph);
    test_message_number(&model, 1, 8);
    sa2_onnx_graph opened;
    unsigned char *copy;
    assert_int_equal(open_copy(&opened, model.bytes, model.n, &copy, NULL), SA2_OK);
    assert_int_equal(opened.n_initializers, 3);
    assert_true(sa2_onnx_is(opened.initializers[0].name, "empty")); /* in order of their names */
    assert_int_equal(opened.initializers[0].count, 0);
    assert_int_equal(opened.initializers[1].ndim, 0);
    assert_int_equal(opened.initializers[1].count, 1);
    assert_int_equal(opened.initializers[2].data_type, INT64);
    assert_null(opened.initializers[2].values);
    assert_null(sa2_onnx_find(&opened, text_of("who")));
    sa2_onnx_close(&opened);
    free(copy);
}

static void nodes_keep_the_order_of_inputs_and_outputs(void **state)
{
    (void)state;
    test_message node = {.n = 0}, graph = {.n = 0}, model = {.n = 0};
    test_message_text(&node, OUTPUT, "y");
    test_message_text(&node, INPUT, "a");
    test_message_text(&node, NAME, "/n");
    test_message_text(&node, INPUT, "");
    test_message_text(&node, OP_TYPE, "Gemm");
    test_message_text(&node, OUTPUT, "z");
    test_message_text(&node, INPUT, "c");
    test_message_inner(&graph, NODE, &node);
    test_message_inner(&graph, NODE, &(test_message){.n = 0});
    test_message_inner(&model, GRAPH, &graph);
    sa2_onnx_graph opened;
    unsigned char *copy;
    assert_int_equal(open_copy(&opened, model.bytes, model.n, &copy, NULL), SA2_OK);
    assert_int_equal(opened.n_nodes, 2);
    const sa2_onnx_node *n = &opened.nodes[0];
    assert_true(n->n_inputs == 3 && n->n_outputs == 2);
    assert_true(sa2_onnx_is(n->inputs[0], "a") && sa2_onnx_is(n->inputs[1], "") &&
                sa2_onnx_is(n->inputs[2], "c"));
    assert_true(sa2_onnx_is(n->outputs[0], "y") && sa2_onnx_is(n->outputs[1], "z"));
    assert_true(sa2_onnx_is(n->name, "/n") && sa2_onnx_is(n->op_type, "Gemm"));
    assert_true(opened.nodes[1].n_inputs == 0 && opened.nodes[1].name.bytes == 0);
    sa2_onnx_close(&opened);
    free(copy);
}

/* ---- what is refused ---- */

static void values_that_do_not_fit_their_dimensions_are_refused(void **state)
{
    (void)state;
    test_message t = begin_initializer();
    test_message_bytes(&t, RAW_DATA, "123456789abc", 12);
    expect_initializer_refused(&t, SA2_ERR_FORMAT,
                               "onnx: initializer w: 4 values expected by the dimensions, 12 bytes "
                               "found");
    t = begin_initializer();
    test_message_bytes(&t, RAW_DATA, "123456789abcdefgh", 17);
    expect_initializer_refused(&t, SA2_ERR_FORMAT,
                               "onnx: initializer w: 4 values expected by the dimensions, 17 bytes "
                               "found");
    t = begin_initializer();
    expect_initializer_refused(&t, SA2_ERR_FORMAT,
                               "onnx: initializer w: 4 values expected by the dimensions, 0 bytes "
                               "found");
    t = begin_initializer();
    test_message_bytes(&t, FLOAT_DATA, "123456", 6);
    expect_initializer_refused(&t, SA2_ERR_FORMAT,
                               "onnx: initializer w: float_data of 6 bytes and wire type 2");
    t = begin_initializer();
    test_message_bytes(&t, FLOAT_DATA, "12345678", 8);
    test_message_bytes(&t, RAW_DATA, "12345678", 8);
    expect_initializer_refused(&t, SA2_ERR_FORMAT,
                               "onnx: initializer w: values in raw_data and in float_data");
}

static void dimensions_that_cannot_be_are_refused(void **state)
{
    (void)state;
    test_message t = begin_initializer();
    test_message_number(&t, DIMS, UINT64_MAX);
    expect_initializer_refused(&t, SA2_ERR_FORMAT,
                               "onnx: initializer w: dimension 2 is -1: the count overflows 64 "
                               "bits");
    t = begin_initializer();
    test_message_number(&t, DIMS, UINT64_C(1) << 62);
    expect_initializer_refused(&t, SA2_ERR_FORMAT,
                               "onnx: initializer w: dimension 2 is 4611686018427387904: the count "
                               "overflows 64 bits");
    /* 2^62 values of 4 bytes: 2^64 bytes are not the 0 bytes that are there. */
    t = begin_initializer();
    test_message_number(&t, DIMS, UINT64_C(1) << 60);
    expect_initializer_refused(&t, SA2_ERR_FORMAT,
                               "onnx: initializer w: 4611686018427387904 values expected by the "
                               "dimensions, 0 bytes found");
    t = begin_initializer();
    test_message_bytes(&t, DIMS, "\1\1\1", 3);
    expect_initializer_refused(&t, SA2_ERR_LIMIT, "onnx: initializer w: more than 4 dimensions");
    t = begin_initializer();
    test_message_bytes(&t, DIMS, "\x81", 1);
    expect_initializer_refused(&t, SA2_ERR_FORMAT,
                               "onnx: initializer w: protobuf: a number leaves its message");
}

static void values_that_lie_elsewhere_are_refused(void **state)
{
    (void)state;
    test_message t = begin_initializer();
    test_message_number(&t, DATA_LOCATION, 1);
    expect_initializer_refused(&t, SA2_ERR_UNSUPPORTED,
                               "onnx: initializer w: its values are in another file");
    t = begin_initializer();
    test_message_text(&t, EXTERNAL_DATA, "");
    expect_initializer_refused(&t, SA2_ERR_UNSUPPORTED,
                               "onnx: initializer w: its values are in another file");
    t = begin_initializer();
    test_message_text(&t, SEGMENT, "");
    expect_initializer_refused(&t, SA2_ERR_UNSUPPORTED,
                               "onnx: initializer w: its values are a segment of a larger tensor");
    test_message graph = {.n = 0};
    test_message_text(&graph, SPARSE_INITIALIZER, "");
    expect_graph_refused(&graph, SA2_ERR_UNSUPPORTED, "onnx: sparse initializers");
}

static void names_and_graphs_are_there_once(void **state)
{
    (void)state;
    test_message t = begin_initializer(), graph = {.n = 0}, model = {.n = 0};
    test_message_bytes(&t, RAW_DATA, "123456789abcdefg", 16);
    test_message_inner(&graph, INITIALIZER, &t);
    test_message_inner(&graph, INITIALIZER, &t);
    expect_graph_refused(&graph, SA2_ERR_FORMAT, "onnx: two initializers are called w");
    test_message_text(&model, GRAPH, "");
    test_message_text(&model, GRAPH, "");
    expect_model_refused(&model, SA2_ERR_FORMAT, "onnx: two graphs");
    model.n = 0;
    test_message_number(&model, 1, 8);
    expect_model_refused(&model, SA2_ERR_FORMAT, "onnx: no graph in 2 bytes");
}

static void fields_of_another_form_are_refused(void **state)
{
    (void)state;
    test_message model = {.n = 0}, graph = {.n = 0}, node = {.n = 0}, t = {.n = 0};
    test_message_number(&model, GRAPH, 1);
    expect_model_refused(&model, SA2_ERR_FORMAT,
                         "onnx: byte 2: the graph is a field of wire type 0, 2 expected");
    test_message_number(&graph, NODE, 1);
    expect_graph_refused(&graph, SA2_ERR_FORMAT,
                         "onnx: a node is a field of wire type 0, 2 expected");
    graph.n = 0;
    test_message_number(&graph, INITIALIZER, 1);
    expect_graph_refused(&graph, SA2_ERR_FORMAT,
                         "onnx: an initializer is a field of wire type 0, 2 expected");
    graph.n = 0;
    test_message_number(&node, NAME, 1);
    test_message_inner(&graph, NODE, &node);
    expect_graph_refused(&graph, SA2_ERR_FORMAT,
                         "onnx: a text of a node is a field of wire type 0, 2 expected");
    test_message_number(&t, TENSOR_NAME, 1);
    expect_initializer_refused(&t, SA2_ERR_FORMAT,
                               "onnx: the name of an initializer is a field of wire type 0, 2 "
                               "expected");
    t = begin_initializer();
    test_message_number(&t, RAW_DATA, 1);
    expect_initializer_refused(
        &t, SA2_ERR_FORMAT, "onnx: initializer w: raw_data is a field of wire type 0, 2 expected");
}

static void what_is_no_protobuf_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *message;
    } cases[] = {
        {"\x3a\x7f", 2, "onnx: byte 2: protobuf: field 7 has 127 bytes, 0 are left"},
        {"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11,
         "onnx: byte 11: protobuf: field 7 has 18446744073709551615 bytes, 0 are left"},
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11,
         "onnx: byte 11: protobuf: a number of more than 64 bits"},
        {"\x08\xff", 2, "onnx: byte 2: protobuf: a number leaves its message"},
        {"\x00\x00", 2, "onnx: byte 1: protobuf: field number 0, 1 to 536870911 expected"},
        {"\x3b\x3c", 2, "onnx: byte 1: protobuf: field 7 has wire type 3"},
        {"\x0e", 1, "onnx: byte 1: protobuf: field 1 has wire type 6"},
        {"\x09\1\2\3", 4, "onnx: byte 1: protobuf: field 1 has 8 bytes, 3 are left"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_message model = {.n = 0};
        test_message_raw(&model, cases[i].bytes, cases[i].n);
        expect_model_refused(&model, SA2_ERR_FORMAT, cases[i].message);
    }
}

static void a_model_that_is_cut_short_is_refused_at_every_byte(void **state)
{
    (void)state;
    test_message t = begin_initializer(), node = {.n = 0}, graph = {.n = 0}, model = {.n = 0};
    test_message_bytes(&t, RAW_DATA, "123456789abcdefg", 16);
    test_message_text(&node, INPUT, "w");
    test_message_inner(&graph, NODE, &node);
    test_message_inner(&graph, INITIALIZER, &t);
    test_message_inner(&model, GRAPH, &graph);
    for (size_t n = 0; n < model.n; n++) {
        sa2_onnx_graph opened;
        unsigned char *copy;
        sa2_error err = {0};
        assert_int_equal(open_copy(&opened, model.bytes, n, &copy, &err), SA2_ERR_FORMAT);
        free(copy);
    }
}

/* Empty messages of two bytes each: a small file that asks for much memory. */
static void counts_are_limited(void **state)
{
    (void)state;
    static const struct {
        unsigned char field;
        size_t n;
    } cases[] = {{NODE, SA2_LIMIT_ONNX_NODES + 1}, {INITIALIZER, SA2_LIMIT_TENSORS + 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sa2_onnx_graph graph;
        sa2_error err = {0};
        size_t body = 2 * cases[i].n, head;
        unsigned char *bytes = calloc(1, body + 16);
        assert_non_null(bytes);
        test_message begin = {.n = 0};
        test_message_varint(&begin, GRAPH << 3 | 2);
        test_message_varint(&begin, body);
        head = begin.n;
        memcpy(bytes, begin.bytes, head);
        for (size_t k = 0; k < cases[i].n; k++)
            bytes[head + 2 * k] = (unsigned char)(cases[i].field << 3 | 2);
        sa2_status st = sa2_onnx_open(&graph, bytes, head + body, &err);
        free(bytes);
        /* The initializers lack the data type of a float, so they may be empty. */
        assert_string_equal(err.message, "onnx: more than 1048576 nodes, 8388608 inputs and "
                                         "outputs or 200000 initializers");
        assert_int_equal(st, SA2_ERR_LIMIT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_an_exporter_have_their_nodes_and_initializers),
        cmocka_unit_test(values_are_read_in_every_form),
        cmocka_unit_test(scalars_empty_tensors_and_other_types_are_read),
        cmocka_unit_test(nodes_keep_the_order_of_inputs_and_outputs),
        cmocka_unit_test(values_that_do_not_fit_their_dimensions_are_refused),
        cmocka_unit_test(dimensions_that_cannot_be_are_refused),
        cmocka_unit_test(values_that_lie_elsewhere_are_refused),
        cmocka_unit_test(names_and_graphs_are_there_once),
        cmocka_unit_test(fields_of_another_form_are_refused),
        cmocka_unit_test(what_is_no_protobuf_is_refused),
        cmocka_unit_test(a_model_that_is_cut_short_is_refused_at_every_byte),
        cmocka_unit_test(counts_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
