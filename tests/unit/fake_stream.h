/*
 * Streams of fake guests, for tests of the layer above: what agent/host/stream.h and lab/vm.h
 * declare about them. A tail's path is what it gives: pieces between `|`. A piece "EOF" ends it,
 * "LOST" loses its guest, "CUT" truncates its file, "FAIL" is an error of the guest's kernel,
 * "ROTATED" replaces its file. Behind the last piece there is nothing, and no wait for it. "/nope"
 * is not there. An open file of number N gives "handle N". Nothing ever waits.
 */
#ifndef PV_TESTS_UNIT_FAKE_STREAM_H
#define PV_TESTS_UNIT_FAKE_STREAM_H

/* Streams that were begun and not closed. */
extern unsigned fake_streams_open;

#endif
