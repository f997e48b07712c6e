/* pickle_opcodes.h - the opcodes that a dict of tensors needs, and the names of all others.
 *
 * Source: pickletools.py of CPython 3.11.
 */
#ifndef SA2_LOADER_PICKLE_OPCODES_H
#define SA2_LOADER_PICKLE_OPCODES_H

enum {
    SA2_PICKLE_OP_PROTO = 0x80,
    SA2_PICKLE_OP_STOP = '.',
    SA2_PICKLE_OP_MARK = '(',
    SA2_PICKLE_OP_NONE = 'N',
    SA2_PICKLE_OP_NEWTRUE = 0x88,
    SA2_PICKLE_OP_NEWFALSE = 0x89,
    SA2_PICKLE_OP_BININT = 'J',
    SA2_PICKLE_OP_BININT1 = 'K',
    SA2_PICKLE_OP_BININT2 = 'M',
    SA2_PICKLE_OP_LONG1 = 0x8a,
    SA2_PICKLE_OP_BINUNICODE = 'X',
    SA2_PICKLE_OP_EMPTY_TUPLE = ')',
    SA2_PICKLE_OP_TUPLE = 't',
    SA2_PICKLE_OP_TUPLE1 = 0x85,
    SA2_PICKLE_OP_TUPLE2 = 0x86,
    SA2_PICKLE_OP_TUPLE3 = 0x87,
    SA2_PICKLE_OP_EMPTY_DICT = '}',
    SA2_PICKLE_OP_SETITEM = 's',
    SA2_PICKLE_OP_SETITEMS = 'u',
    SA2_PICKLE_OP_BINPUT = 'q',
    SA2_PICKLE_OP_LONG_BINPUT = 'r',
    SA2_PICKLE_OP_BINGET = 'h',
    SA2_PICKLE_OP_LONG_BINGET = 'j',
    SA2_PICKLE_OP_GLOBAL = 'c',
    SA2_PICKLE_OP_REDUCE = 'R',
    SA2_PICKLE_OP_BUILD = 'b',
    SA2_PICKLE_OP_BINPERSID = 'Q',
};

/* "REDUCE" for 'R': every opcode of protocols 0 to 5, so that what is refused can be called by its
 * name; "no opcode" for the rest. op: 0 to 255. */
const char *sa2_pickle_opcode_name(int op);

#endif
