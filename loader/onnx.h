/* onnx.h - the weights in an ONNX file, and the names of the nodes that use them. Nothing is executed.
 *
 * Format: onnx/onnx.proto3 of github.com/onnx/onnx: ModelProto, its graph, and of the graph the
 * initializers and the nodes; attributes (with Constant values and inner graphs) are not looked at.
 */
#ifndef SA2_LOADER_ONNX_H
#define SA2_LOADER_ONNX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/arena.h"
#include "kernels/base/tensor.h"

enum { SA2_ONNX_FLOAT = 1 }; /* the data type that has values here */

/* In the file, without a 0 at the end; may be empty. */
typedef struct sa2_onnx_text {
    const char *text;
    size_t bytes;
} sa2_onnx_text;

typedef struct sa2_onnx_initializer {
    sa2_onnx_text name;
    int data_type; /* of TensorProto */
    int ndim;      /* 0: a scalar */
    int64_t shape[SA2_MAX_DIMS];
    int64_t count;
    const unsigned char
        *values; /* count f32, little-endian, of any alignment; NULL: another type */
} sa2_onnx_initializer;

typedef struct sa2_onnx_node {
    sa2_onnx_text name, op_type;
    sa2_onnx_text *inputs, *outputs;
    size_t n_inputs, n_outputs;
} sa2_onnx_node;

typedef struct sa2_onnx_graph {
    sa2_onnx_initializer *initializers; /* by name, in byte order */
    size_t n_initializers;
    sa2_onnx_node *nodes; /* in the order of the file */
    size_t n_nodes;
    sa2_arena memory; /* of all these; values in pieces are put together there */
} sa2_onnx_graph;

/* Reads the model in bytes[0, n), which must outlive the graph.
 * Errors: SA2_ERR_FORMAT broken protobuf, no graph, two initializers of one name, values that are not
 * as many as the dimensions say, negative or overflowing dimensions; SA2_ERR_UNSUPPORTED values in
 * another file, in segments, sparse ones; SA2_ERR_LIMIT; SA2_ERR_NOMEM. Nothing to close then. */
sa2_status sa2_onnx_open(sa2_onnx_graph *graph, const void *bytes, size_t n, sa2_error *err);
void sa2_onnx_close(sa2_onnx_graph *graph);

/* The initializer of that name, or NULL. */
const sa2_onnx_initializer *sa2_onnx_find(const sa2_onnx_graph *graph, sa2_onnx_text name);

/* Byte order: below 0, 0, above 0. */
int sa2_onnx_compare(sa2_onnx_text a, sa2_onnx_text b);

/* True when both have the same bytes. */
bool sa2_onnx_is(sa2_onnx_text text, const char *expected);

#endif
