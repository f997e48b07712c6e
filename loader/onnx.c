#include "loader/onnx.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/base/limits.h"
#include "loader/protobuf.h"

/* Field numbers of onnx.proto3. */
enum {
    MODEL_GRAPH = 7,
    GRAPH_NODE = 1,
    GRAPH_INITIALIZER = 5,
    GRAPH_SPARSE_INITIALIZER = 15,
    NODE_INPUT = 1,
    NODE_OUTPUT = 2,
    NODE_NAME = 3,
    NODE_OP_TYPE = 4,
    TENSOR_DIMS = 1,
    TENSOR_DATA_TYPE = 2,
    TENSOR_SEGMENT = 3,
    TENSOR_FLOAT_DATA = 4,
    TENSOR_NAME = 8,
    TENSOR_RAW_DATA = 9,
    TENSOR_EXTERNAL_DATA = 13,
    TENSOR_DATA_LOCATION = 14,
};

/* A first walk over the graph counts, a second one fills. */
typedef struct totals {
    size_t nodes, edges, initializers;
    size_t pieces_bytes; /* of values that lie in several pieces, each rounded for the arena */
} totals;

static sa2_onnx_text text_of(const sa2_protobuf_field *field)
{
    return (sa2_onnx_text){(const char *)field->data, field->bytes};
}

static sa2_protobuf message_of(const sa2_protobuf_field *field)
{
    return (sa2_protobuf){field->data, field->data + field->bytes};
}

/* Fields of a known number must have a known form. */
static sa2_status expect_wire(const sa2_protobuf_field *field, sa2_protobuf_wire wire,
                              const char *what, sa2_error *err)
{
    if (field->wire == wire)
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_FORMAT, "%s is a field of wire type %d, %d expected", what,
                    (int)field->wire, (int)wire);
}

/* ---- nodes ---- */

/* node->inputs and outputs are NULL in the first walk, which only counts. */
static sa2_status read_node(sa2_protobuf message, sa2_onnx_node *node, sa2_error *err)
{
    node->n_inputs = node->n_outputs = 0;
    while (message.at < message.end) {
        sa2_protobuf_field field;
        sa2_status st = sa2_protobuf_next(&message, &field, err);
        if (st == SA2_OK && field.number >= NODE_INPUT && field.number <= NODE_OP_TYPE)
            st = expect_wire(&field, SA2_PROTOBUF_BYTES, "a text of a node", err);
        if (st != SA2_OK)
            return st;
        sa2_onnx_text text = text_of(&field);
        switch (field.number) {
        case NODE_INPUT:
            if (node->inputs != NULL)
                node->inputs[node->n_inputs] = text;
            node->n_inputs++;
            break;
        case NODE_OUTPUT:
            if (node->outputs != NULL)
                node->outputs[node->n_outputs] = text;
            node->n_outputs++;
            break;
        case NODE_NAME:
            node->name = text;
            break;
        case NODE_OP_TYPE:
            node->op_type = text;
            break;
        default:
            break;
        }
    }
    return SA2_OK;
}

/* ---- initializers ---- */

static sa2_status add_dim(sa2_onnx_initializer *t, uint64_t dim, sa2_error *err)
{
    if (t->ndim == SA2_MAX_DIMS)
        return sa2_fail(err, SA2_ERR_LIMIT, "more than %d dimensions", SA2_MAX_DIMS);
    if (dim > INT64_MAX || __builtin_mul_overflow(t->count, (int64_t)dim, &t->count))
        return sa2_fail(err, SA2_ERR_FORMAT, "dimension %d is %lld: the count overflows 64 bits",
                        t->ndim, (long long)dim);
    t->shape[t->ndim++] = (int64_t)dim;
    return SA2_OK;
}

static sa2_status read_dims(sa2_onnx_initializer *t, const sa2_protobuf_field *field,
                            sa2_error *err)
{
    if (field->wire == SA2_PROTOBUF_VARINT)
        return add_dim(t, field->value, err);
    sa2_status st = expect_wire(field, SA2_PROTOBUF_BYTES, "the dimensions", err);
    sa2_protobuf packed = message_of(field);
    while (st == SA2_OK && packed.at < packed.end) {
        uint64_t dim = 0;
        st = sa2_protobuf_varint(&packed, &dim, err);
        if (st == SA2_OK)
            st = add_dim(t, dim, err);
    }
    return st;
}

/* What the fields of a tensor with values in them come to. */
typedef struct value_pieces {
    size_t n, bytes;
    const unsigned char *first;
    bool raw, floats;
} value_pieces;

static void add_piece(value_pieces *pieces, const sa2_protobuf_field *field, unsigned char *joined)
{
    if (pieces->n++ == 0)
        pieces->first = field->data;
    if (joined != NULL && field->bytes > 0)
        memcpy(joined + pieces->bytes, field->data, field->bytes);
    pieces->bytes += field->bytes;
    pieces->raw |= field->number == TENSOR_RAW_DATA;
    pieces->floats |= field->number == TENSOR_FLOAT_DATA;
}

static sa2_status read_tensor_field(sa2_onnx_initializer *t, const sa2_protobuf_field *field,
                                    value_pieces *pieces, unsigned char *joined, sa2_error *err)
{
    sa2_status st = SA2_OK;
    switch (field->number) {
    case TENSOR_DIMS:
        return read_dims(t, field, err);
    case TENSOR_DATA_TYPE:
        st = expect_wire(field, SA2_PROTOBUF_VARINT, "the data type", err);
        t->data_type = field->value < 1000 ? (int)field->value : 1000;
        return st;
    case TENSOR_FLOAT_DATA:
        if (field->wire == SA2_PROTOBUF_FIXED32 ||
            (field->wire == SA2_PROTOBUF_BYTES && field->bytes % 4 == 0)) {
            add_piece(pieces, field, joined);
            return SA2_OK;
        }
        return sa2_fail(err, SA2_ERR_FORMAT, "float_data of %zu bytes and wire type %d",
                        field->bytes, (int)field->wire);
    case TENSOR_RAW_DATA:
        add_piece(pieces, field, joined);
        return expect_wire(field, SA2_PROTOBUF_BYTES, "raw_data", err);
    case TENSOR_EXTERNAL_DATA:
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "its values are in another file");
    case TENSOR_DATA_LOCATION:
        if (field->wire == SA2_PROTOBUF_VARINT && field->value == 0)
            return SA2_OK;
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "its values are in another file");
    case TENSOR_SEGMENT:
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "its values are a segment of a larger tensor");
    default:
        return SA2_OK;
    }
}

/* joined is NULL, or takes the values when they lie in several pieces; *pieces_bytes is what they
 * need then, 0 for one piece. */
static sa2_status read_tensor(sa2_protobuf message, sa2_onnx_initializer *t, unsigned char *joined,
                              size_t *pieces_bytes, sa2_error *err)
{
    value_pieces pieces = {0};
    sa2_status st = SA2_OK;
    while (message.at < message.end && st == SA2_OK) {
        sa2_protobuf_field field;
        st = sa2_protobuf_next(&message, &field, err);
        if (st == SA2_OK)
            st = read_tensor_field(t, &field, &pieces, joined, err);
    }
    if (st != SA2_OK)
        return st;
    *pieces_bytes = 0;
    if (t->data_type != SA2_ONNX_FLOAT)
        return SA2_OK;
    if (pieces.raw && pieces.floats)
        return sa2_fail(err, SA2_ERR_FORMAT, "values in raw_data and in float_data");
    if (pieces.bytes % 4 != 0 || (int64_t)(pieces.bytes / 4) != t->count)
        return sa2_fail(err, SA2_ERR_FORMAT,
                        "%lld values expected by the dimensions, %zu bytes found",
                        (long long)t->count, pieces.bytes);
    *pieces_bytes = pieces.n > 1 ? pieces.bytes : 0;
    static const unsigned char none[1] = {0};
    t->values = pieces.n == 0 ? none : pieces.n > 1 ? joined : pieces.first;
    return SA2_OK;
}

/* The name first, so that whatever is wrong can be said of it. */
static sa2_status read_tensor_name(sa2_protobuf message, sa2_onnx_text *name, sa2_error *err)
{
    while (message.at < message.end) {
        sa2_protobuf_field field;
        sa2_status st = sa2_protobuf_next(&message, &field, err);
        if (st == SA2_OK && field.number == TENSOR_NAME)
            st = expect_wire(&field, SA2_PROTOBUF_BYTES, "the name of an initializer", err);
        if (st != SA2_OK)
            return st;
        if (field.number == TENSOR_NAME)
            *name = text_of(&field);
    }
    return SA2_OK;
}

static sa2_status read_initializer(sa2_protobuf message, sa2_onnx_initializer *t,
                                   unsigned char *joined, size_t *pieces_bytes, sa2_error *err)
{
    *t = (sa2_onnx_initializer){.count = 1};
    sa2_status st = read_tensor_name(message, &t->name, err);
    if (st != SA2_OK)
        return st;
    st = read_tensor(message, t, joined, pieces_bytes, err);
    if (st != SA2_OK)
        return sa2_wrap(err, st, "initializer %.*s",
                        (int)(t->name.bytes < 200 ? t->name.bytes : 200), t->name.text);
    return SA2_OK;
}

/* ---- the graph ---- */

static sa2_status count_field(const sa2_protobuf_field *field, totals *sum, sa2_error *err)
{
    sa2_onnx_node node = {0};
    sa2_onnx_initializer t;
    size_t pieces = 0;
    sa2_status st = SA2_OK;
    switch (field->number) {
    case GRAPH_NODE:
        st = expect_wire(field, SA2_PROTOBUF_BYTES, "a node", err);
        if (st == SA2_OK)
            st = read_node(message_of(field), &node, err);
        sum->nodes++;
        sum->edges += node.n_inputs + node.n_outputs;
        break;
    case GRAPH_INITIALIZER:
        st = expect_wire(field, SA2_PROTOBUF_BYTES, "an initializer", err);
        if (st == SA2_OK)
            st = read_initializer(message_of(field), &t, NULL, &pieces, err);
        sum->initializers++;
        sum->pieces_bytes += sa2_arena_round(pieces);
        break;
    case GRAPH_SPARSE_INITIALIZER:
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "sparse initializers");
    default:
        break;
    }
    if (st == SA2_OK && (sum->nodes > SA2_LIMIT_ONNX_NODES || sum->edges > SA2_LIMIT_ONNX_EDGES ||
                         sum->initializers > SA2_LIMIT_TENSORS))
        st = sa2_fail(err, SA2_ERR_LIMIT,
                      "more than %d nodes, %d inputs and outputs or %d initializers",
                      SA2_LIMIT_ONNX_NODES, SA2_LIMIT_ONNX_EDGES, SA2_LIMIT_TENSORS);
    return st;
}

/* What the counting walk has accepted; only memory can be wrong now, and that was counted. */
static sa2_status fill_field(const sa2_protobuf_field *field, sa2_onnx_graph *graph,
                             sa2_onnx_text **edges, sa2_error *err)
{
    if (field->number == GRAPH_NODE) {
        sa2_onnx_node *node = &graph->nodes[graph->n_nodes++];
        sa2_status st = read_node(message_of(field), node, err);
        node->inputs = *edges;
        node->outputs = *edges + node->n_inputs;
        *edges += node->n_inputs + node->n_outputs;
        return st == SA2_OK ? read_node(message_of(field), node, err) : st;
    }
    if (field->number != GRAPH_INITIALIZER)
        return SA2_OK;
    sa2_onnx_initializer *t = &graph->initializers[graph->n_initializers++];
    size_t pieces = 0;
    sa2_status st = read_initializer(message_of(field), t, NULL, &pieces, err);
    if (st != SA2_OK || pieces == 0)
        return st;
    unsigned char *joined = sa2_arena_take(&graph->memory, pieces);
    return read_initializer(message_of(field), t, joined, &pieces, err);
}

int sa2_onnx_compare(sa2_onnx_text a, sa2_onnx_text b)
{
    size_t shorter = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = shorter > 0 ? memcmp(a.text, b.text, shorter) : 0;
    return order != 0 ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static int compare_initializers(const void *a, const void *b)
{
    const sa2_onnx_initializer *x = a, *y = b;
    return sa2_onnx_compare(x->name, y->name);
}

static sa2_status sort_initializers(sa2_onnx_graph *graph, sa2_error *err)
{
    sa2_onnx_initializer *all = graph->initializers;
    if (graph->n_initializers > 0)
        qsort(all, graph->n_initializers, sizeof *all, compare_initializers);
    for (size_t i = 1; i < graph->n_initializers; i++)
        if (sa2_onnx_compare(all[i - 1].name, all[i].name) == 0)
            return sa2_fail(err, SA2_ERR_FORMAT, "two initializers are called %.*s",
                            (int)(all[i].name.bytes < 200 ? all[i].name.bytes : 200),
                            all[i].name.text);
    return SA2_OK;
}

static sa2_status find_graph(const void *bytes, size_t n, sa2_protobuf *graph, sa2_error *err)
{
    const unsigned char *file = bytes;
    sa2_protobuf model = {file, file + n};
    bool found = false;
    while (model.at < model.end) {
        sa2_protobuf_field field;
        sa2_status st = sa2_protobuf_next(&model, &field, err);
        if (st == SA2_OK && field.number == MODEL_GRAPH)
            st = expect_wire(&field, SA2_PROTOBUF_BYTES, "the graph", err);
        if (st != SA2_OK)
            return sa2_wrap(err, st, "byte %zu", (size_t)(model.at - file));
        if (field.number != MODEL_GRAPH)
            continue;
        if (found)
            return sa2_fail(err, SA2_ERR_FORMAT, "two graphs");
        found = true;
        *graph = message_of(&field);
    }
    return found ? SA2_OK : sa2_fail(err, SA2_ERR_FORMAT, "no graph in %zu bytes", n);
}

static sa2_status create_memory(sa2_onnx_graph *graph, const totals *sum, sa2_onnx_text **edges,
                                sa2_error *err)
{
    size_t nodes = sum->nodes * sizeof *graph->nodes;
    size_t initializers = sum->initializers * sizeof *graph->initializers;
    size_t texts = sum->edges * sizeof **edges;
    sa2_status st = sa2_arena_create(&graph->memory,
                                     sa2_arena_round(nodes) + sa2_arena_round(initializers) +
                                         sa2_arena_round(texts) + sum->pieces_bytes,
                                     err);
    if (st != SA2_OK)
        return st;
    graph->nodes = sa2_arena_take(&graph->memory, nodes);
    graph->initializers = sa2_arena_take(&graph->memory, initializers);
    *edges = sa2_arena_take(&graph->memory, texts);
    return SA2_OK;
}

sa2_status sa2_onnx_open(sa2_onnx_graph *graph, const void *bytes, size_t n, sa2_error *err)
{
    *graph = (sa2_onnx_graph){0};
    sa2_protobuf whole = {0};
    totals sum = {0};
    sa2_onnx_text *edges = NULL;
    sa2_protobuf_field field;
    sa2_status st = find_graph(bytes, n, &whole, err);
    for (sa2_protobuf rest = whole; st == SA2_OK && rest.at < rest.end;) {
        st = sa2_protobuf_next(&rest, &field, err);
        if (st == SA2_OK)
            st = count_field(&field, &sum, err);
    }
    if (st == SA2_OK)
        st = create_memory(graph, &sum, &edges, err);
    for (sa2_protobuf rest = whole; st == SA2_OK && rest.at < rest.end;) {
        st = sa2_protobuf_next(&rest, &field, err);
        if (st == SA2_OK)
            st = fill_field(&field, graph, &edges, err);
    }
    if (st == SA2_OK)
        st = sort_initializers(graph, err);
    if (st == SA2_OK)
        return SA2_OK;
    sa2_onnx_close(graph);
    return sa2_wrap(err, st, "onnx");
}

void sa2_onnx_close(sa2_onnx_graph *graph)
{
    sa2_arena_destroy(&graph->memory);
    *graph = (sa2_onnx_graph){0};
}

const sa2_onnx_initializer *sa2_onnx_find(const sa2_onnx_graph *graph, sa2_onnx_text name)
{
    sa2_onnx_initializer key = {.name = name};
    if (graph->n_initializers == 0)
        return NULL;
    return bsearch(&key, graph->initializers, graph->n_initializers, sizeof key,
                   compare_initializers);
}

bool sa2_onnx_is(sa2_onnx_text text, const char *expected)
{
    return text.bytes == strlen(expected) && memcmp(text.text, expected, text.bytes) == 0;
}
