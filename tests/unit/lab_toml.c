/*
 * The TOML reader: what each construct of TOML 1.0.0 means, and each way to write it wrong, with
 * the words that a person reads. The oracle test has more documents (lab_toml_oracle.cpp); here the
 * expectation is written down.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "lab/toml.h"

/* Documents, and their values in a short spelling: {key:value}, [item], "text", 1, 1.5f, @date. */
static const struct {
	const char *document;
	const char *values;
} good[] = {
    {"a = 1",			   "{a:1}"			   },
    {"a=1",			     "{a:1}"			   },
    {"a = 1 # c",		       "{a:1}"			   },
    {"# c",			     "{}"			      },
    {"",				"{}"			      },
    {"\n\n\t \n",		       "{}"			      },
    {"a = 1\r\nb = 2\r\n",		   "{a:1,b:2}"			      },
    {"a = 1\nb = 2",		     "{a:1,b:2}"			},
    {"\357\273\277a = 1",		  "{a:1}"				 },
    {"1234 = 1",			"{1234:1}"			   },
    {"-_ = 1",			  "{-_:1}"			  },
    {"\"a b\" = 1",		     "{a b:1}"			     },
    {"'a\"b' = 1",		      "{a\"b:1}"			     },
    {"\"\" = 1",			"{:1}"			    },
    {"\"\\u0041\" = 1",			"{A:1}"			       },
    {"a.b.c = 1",		       "{a:{b:{c:1}}}"			 },
    {"a . b = 1",		       "{a:{b:1}}"			     },
    {"a.\"b.c\" = 1",		      "{a:{b.c:1}}"			   },
    {"a.b = 1\na.c = 2",		 "{a:{b:1,c:2}}"			},
    {"3.14 = 1",			"{3:{14:1}}"			     },
    {"true = true",		     "{true:true}"			 },
    {"a = false",		       "{a:false}"			     },
    {"a = +7",			  "{a:7}"			   },
    {"a = -7",			  "{a:-7}"			  },
    {"a = -0",			  "{a:0}"			   },
    {"a = 1_000",		       "{a:1000}"			    },
    {"a = 9223372036854775807",		"{a:9223372036854775807}"	 },
    {"a = -9223372036854775808",	 "{a:-9223372036854775808}"	   },
    {"a = 0xfF",			"{a:255}"			  },
    {"a = 0xdead_BEEF",			"{a:3735928559}"			},
    {"a = 0o17",			"{a:15}"			  },
    {"a = 0b101",		       "{a:5}"			   },
    {"a = 0x0001",		      "{a:1}"			   },
    {"a = 1.5",			 "{a:1.5f}"			  },
    {"a = -0.5",			"{a:-0.5f}"			    },
    {"a = 5e3",			 "{a:5000f}"			   },
    {"a = 5E+3",			"{a:5000f}"			    },
    {"a = 1e-2",			"{a:0.01f}"			    },
    {"a = 1_0.2_5",		     "{a:10.25f}"			},
    {"a = 1e0_1",		       "{a:10f}"			   },
    {"a = inf",			 "{a:inff}"			  },
    {"a = -inf",			"{a:-inff}"			    },
    {"a = +nan",			"{a:nanf}"			   },
    {"a = \"\"",			"{a:\"\"}"			   },
    {"a = \"x\"",		       "{a:\"x\"}"			     },
    {"a = \"\\b\\t\\n\\f\\r\\\"\\\\\"", "{a:\"\b\t\n\f\r\"\\\"}"		},
    {"a = \"\\u00e9\"",			"{a:\"\303\251\"}"		  },
    {"a = \"\\U0001F600\"",		    "{a:\"\360\237\230\200\"}"	      },
    {"a = '\\n'",		       "{a:\"\\n\"}"		       },
    {"a = ''",			  "{a:\"\"}"			 },
    {"a = \"\"\"\nx\ny\"\"\"",	       "{a:\"x\ny\"}"		     },
    {"a = \"\"\"x \\\n  y\"\"\"",	  "{a:\"x y\"}"		       },
    {"a = \"\"\"x\\\n\n\n\"\"\"",	  "{a:\"x\"}"			     },
    {"a = \"\"\"\"x\"\"\"\"",	      "{a:\"\"x\"\"}"		     },
    {"a = \"\"\"\"\"\"",		 "{a:\"\"}"			   },
    {"a = \"\"\"x\"\"\"\"\"",	      "{a:\"x\"\"\"}"		     },
    {"a = '''\nx'y'''",			"{a:\"x'y\"}"		     },
    {"a = ''''''",		      "{a:\"\"}"			     },
    {"a = '''x\\y'''",		       "{a:\"x\\y\"}"		     },
    {"a = 1979-05-27T07:32:00Z",	 "{a:@1979-05-27T07:32:00Z}"	    },
    {"a = 1979-05-27 07:32:00.5-07:00", "{a:@1979-05-27 07:32:00.5-07:00}"},
    {"a = 1979-05-27T07:32:00",		"{a:@1979-05-27T07:32:00}"	  },
    {"a = 1979-05-27",		       "{a:@1979-05-27}"			},
    {"a = 07:32:00",		     "{a:@07:32:00}"		    },
    {"a = 2000-02-29",		       "{a:@2000-02-29}"			},
    {"a = []",			  "{a:[]}"			  },
    {"a = [1, 2]",		      "{a:[1,2]}"			      },
    {"a = [1, 2, ]",		     "{a:[1,2]}"			},
    {"a = [\n1, # c\n2\n]",		    "{a:[1,2]}"		       },
    {"a = [[1], [\"x\"]]",		   "{a:[[1],[\"x\"]]}"		      },
    {"a = [1, \"x\", {b = 2}]",		"{a:[1,\"x\",{b:2}]}"	     },
    {"a = {}",			  "{a:{}}"			  },
    {"a = {b = 1, c = 2}",		   "{a:{b:1,c:2}}"			  },
    {"a = {b.c = 1, b.d = 2}",	       "{a:{b:{c:1,d:2}}}"		  },
    {"a = {b = [\n1]}",			"{a:{b:[1]}}"		     },
    {"[a]",			     "{a:{}}"			  },
    {"[a]\nb = 1\n[c]\nd = 2",	       "{a:{b:1},c:{d:2}}"		  },
    {"[a.b]\nc = 1",		     "{a:{b:{c:1}}}"		    },
    {"[ a . \"b\" ]",		      "{a:{b:{}}}"			  },
    {"[a.b]\n[a]\nc = 1",		  "{a:{b:{},c:1}}"		  },
    {"[a]\nb.c = 1\n[a.b.d]",	      "{a:{b:{c:1,d:{}}}}"		  },
    {"[[a]]\nb = 1\n[[a]]\nb = 2",	   "{a:[{b:1},{b:2}]}"		      },
    {"[[a]]\n[a.b]\nc = 1\n[[a]]",	   "{a:[{b:{c:1}},{}]}"	       },
    {"[[a.b]]\nc = 1\n[a]\nd = 2",	   "{a:{b:[{c:1}],d:2}}"		},
    {"[[a]]\n[[a.b]]\n[[a.b]]",		"{a:[{b:[{},{}]}]}"		   },
};

/* Documents, and what is said about them. */
static const struct {
	const char *document;
	const char *message;
} bad[] = {
    {"= 1",			    "line 1, column 1: expected a key"					      },
    {"a",			      "line 1, column 2: expected `=` behind key `a`"				 },
    {"a =",			    "line 1, column 4: expected a value"						},
    {"a = # c",			"line 1, column 5: expected a value"					    },
    {"a 1",			    "line 1, column 3: expected `=` behind key `a`"				   },
    {"a b = 1",			"line 1, column 3: expected `=` behind key `a`"				       },
    {"a = 1 b = 2",		    "line 1, column 7: expected the end of the line"				    },
    {"a\n= 1",			 "line 1, column 2: expected `=` behind key `a`"				      },
    {"a = \n1",			"line 1, column 5: expected a value"					    },
    {"a. = 1",			 "line 1, column 4: expected a key"						 },
    {".a = 1",			 "line 1, column 1: expected a key"						 },
    {"a..b = 1",		       "line 1, column 3: expected a key"						   },
    {"\"a = 1",			"line 1, column 7: the string is not closed"				    },
    {"\"\"\"a\"\"\" = 1",		  "line 1, column 1: a multi-line string cannot be a key"			 },
    {"\303\274 = 1",		     "line 1, column 1: expected a key"					       },
    {"a = 1\na = 2",		     "line 2, column 3: key `a` is already defined in line 1"			     },
    {"a = 1\n\n\"a\" = 2",		   "line 3, column 5: key `a` is already defined in line 1"			   },
    {"a = 1\na.b = 2",
	"line 2, column 3: key `a` is already an integer (line 1) and cannot be extended"				 },
    {"a.b = 1\na = 2",		       "line 2, column 3: key `a` is already defined in line 1"		       },
    {"a = 1\rb = 2",		     "line 1, column 6: expected the end of the line"				     },
    {"a = 1\f",			"line 1, column 6: expected the end of the line"				},
    {"a = True",		       "line 1, column 5: expected a value"					     },
    {"a = truex",		      "line 1, column 9: expected the end of the line"				  },
    {"a = yes",			"line 1, column 5: expected a value"					    },
    {"a = 01",			 "line 1, column 7: a number cannot begin with 0"			       },
    {"a = -01",			"line 1, column 8: a number cannot begin with 0"				},
    {"a = 1_",			 "line 1, column 6: an underscore must stand between digits"			  },
    {"a = _1",			 "line 1, column 5: expected a value"					   },
    {"a = 1__0",		       "line 1, column 6: an underscore must stand between digits"		    },
    {"a = 1x",			 "line 1, column 6: expected the end of the line"			       },
    {"a = +0x1",		       "line 1, column 7: expected the end of the line"				 },
    {"a = 0x",			 "line 1, column 7: expected a value"					   },
    {"a = 0X1",			"line 1, column 6: expected the end of the line"				},
    {"a = 0x_1",		       "line 1, column 7: expected a value"					     },
    {"a = 0o8",			"line 1, column 7: expected a value"					    },
    {"a = 0b2",			"line 1, column 7: expected a value"					    },
    {"a = 9223372036854775808",	"line 1, column 24: the integer does not fit into 64 bits"			  },
    {"a = -9223372036854775809",	 "line 1, column 25: the integer does not fit into 64 bits"			   },
    {"a = 0x8000000000000000",	       "line 1, column 23: the integer does not fit into 64 bits"			 },
    {"a = ++1",			"line 1, column 6: expected a value"					    },
    {"a = .5",			 "line 1, column 5: expected a value"					   },
    {"a = 5.",			 "line 1, column 7: expected a value"					   },
    {"a = 5.e1",		       "line 1, column 7: expected a value"					     },
    {"a = 1e",			 "line 1, column 7: expected a value"					   },
    {"a = 1e1.5",		      "line 1, column 8: expected the end of the line"				  },
    {"a = 1_.5",		       "line 1, column 6: an underscore must stand between digits"		    },
    {"a = 03.1",		       "line 1, column 7: a number cannot begin with 0"				 },
    {"a = 1e999",		      "line 1, column 10: the number is too large"				      },
    {"a = Inf",			"line 1, column 5: expected a value"					    },
    {"a = infinity",		     "line 1, column 8: expected the end of the line"				     },
    {"a = \"x",			"line 1, column 7: the string is not closed"				    },
    {"a = \"x\ny\"",		     "line 1, column 7: a newline ends the string before its closing quote"	   },
    {"a = \"\\q\"",		    "line 1, column 6: unknown escape in a string"				  },
    {"a = \"\\x41\"",		      "line 1, column 6: unknown escape in a string"				    },
    {"a = \"\\u12\"",		      "line 1, column 6: \\u needs 4 hexadecimal digits"				},
    {"a = \"\\ud800\"",		"line 1, column 6: escape does not name a Unicode character"		    },
    {"a = \"\\U00110000\"",	    "line 1, column 6: escape does not name a Unicode character"			},
    {"a = \"\\u0000\"",		"line 1, column 6: a NUL character cannot be used here"			       },
    {"a = \"\001\"",		     "line 1, column 6: control character in a string; use an escape"		     },
    {"a = \"\177\"",		     "line 1, column 6: control character in a string; use an escape"		     },
    {"a = 'x",			 "line 1, column 7: the string is not closed"				   },
    {"a = 'x\ny'",		     "line 1, column 7: a newline ends the string before its closing quote"	 },
    {"a = \"\"\"x",		    "line 1, column 9: the string is not closed"					},
    {"a = \"\"\"\\ x\"\"\"",	     "line 1, column 8: unknown escape in a string"				   },
    {"a = \"\"\"x\"\"\"\"\"\"",	"line 1, column 14: expected the end of the line"				 },
    {"a = \"\377\"",		     "line 1, column 6: not UTF-8 text"					       },
    {"a = \"\355\240\200\"",	     "line 1, column 6: not UTF-8 text"					       },
    {"a = \"\300\257\"",		 "line 1, column 6: not UTF-8 text"						   },
    {"# \001",			 "line 1, column 3: control character in a comment"				 },
    {"# x\ry",			 "line 1, column 4: control character in a comment"				 },
    {"a = 2021-13-01",		       "line 1, column 5: no such date or time"				       },
    {"a = 2021-02-29",		       "line 1, column 5: no such date or time"				       },
    {"a = 2021-04-31",		       "line 1, column 5: no such date or time"				       },
    {"a = 2021-1-01",		      "line 1, column 5: no such date or time"					      },
    {"a = 24:00:00",		     "line 1, column 5: no such date or time"					     },
    {"a = 12:60:00",		     "line 1, column 5: no such date or time"					     },
    {"a = 12:00:60",		     "line 1, column 5: no such date or time"					     },
    {"a = 12:00",		      "line 1, column 5: no such date or time"					  },
    {"a = 12:00:00.",		      "line 1, column 13: expected the end of the line"			       },
    {"a = 12:00:00Z",		      "line 1, column 13: expected the end of the line"			       },
    {"a = 2021-01-01T",		"line 1, column 5: no such date or time"					},
    {"a = 2021-01-01T00:00:00+24:00",  "line 1, column 24: expected the end of the line"			       },
    {"a = 2021-01-01  00:00:00",	 "line 1, column 17: expected the end of the line"				  },
    {"a = [1",			 "line 1, column 7: expected `,` or `]` in an array"				  },
    {"a = [1 2]",		      "line 1, column 8: expected `,` or `]` in an array"			     },
    {"a = [,]",			"line 1, column 6: expected a value"					    },
    {"a = [1,,2]",		     "line 1, column 8: expected a value"					       },
    {"a = [1]]",		       "line 1, column 8: expected the end of the line"				 },
    {"a = {b = 1",		     "line 1, column 11: expected `,` or `}` in an inline table"		      },
    {"a = {b = 1,}",		     "line 1, column 12: an inline table cannot end with a comma"			 },
    {"a = {b = 1\n}",		      "line 1, column 11: expected `,` or `}` in an inline table"			 },
    {"a = {b = 1 c = 2}",		  "line 1, column 12: expected `,` or `}` in an inline table"		     },
    {"a = {b = 1, b = 2}",		   "line 1, column 15: key `b` is already defined in line 1"			    },
    {"a = {b}",			"line 1, column 7: expected `=` behind key `b`"				       },
    {"a = {b = 1}\na.c = 2",
	"line 2, column 3: key `a` is already a table (line 1) and cannot be extended"				      },
    {"a = {b = 1}\n[a.c]",
	"line 2, column 4: key `a` is already a table (line 1) and cannot be extended"				      },
    {"a = {b = 1}\n[a]",		 "line 2, column 4: table `a` is already defined in line 1"			   },
    {"a = {b = {c = 1}, b.d = 2}",
	"line 1, column 21: key `b` is already a table (line 1) and cannot be extended"				       },
    {"[]",			     "line 1, column 2: expected a key"					     },
    {"[a",			     "line 1, column 3: expected `]` behind the header"			     },
    {"[a] b = 1",		      "line 1, column 5: expected the end of the line"				  },
    {"[a]]",			   "line 1, column 4: expected the end of the line"				     },
    {"[a.]",			   "line 1, column 4: expected a key"					       },
    {"[a]\n[a]",		       "line 2, column 4: table `a` is already defined in line 1"			   },
    {"a = 1\n[a]",		     "line 2, column 4: table `a` is already defined in line 1"		     },
    {"a = 1\n[a.b]",
	"line 2, column 4: key `a` is already an integer (line 1) and cannot be extended"				 },
    {"a.b = 1\n[a]",		     "line 2, column 4: table `a` is already defined in line 1"		       },
    {"[a.b.c]\nd = 1\n[a]\nb.c.e = 1",
	"line 4, column 3: table `b` (line 1) cannot be extended by a dotted key"					 },
    {"[[a]",			   "line 1, column 4: expected `]]` behind the header"				},
    {"[[]]",			   "line 1, column 3: expected a key"					       },
    {"[[a] ]",			 "line 1, column 4: expected `]]` behind the header"				  },
    {"a = []\n[[a]]",
	"line 2, column 6: key `a` is already an array (line 1), not an array of tables"					},
    {"[a]\n[[a]]",		     "line 2, column 6: key `a` is already a table (line 1), not an array of tables"},
    {"[[a]]\n[a]",		     "line 2, column 4: table `a` is already defined in line 1"		     },
    {"a = [{b = 1}]\n[a.c]",
	"line 2, column 4: key `a` is already an array (line 1) and cannot be extended"				       },
    {"[a.b]\n[[a]]",
	"line 2, column 6: key `a` is already a table (line 1), not an array of tables"				       },
};

static void show(const struct pv_toml_value *value, struct pv_bytes *out)
{
	switch (value->type) {
	case PV_TOML_STRING: pv_bytes_printf(out, "\"%s\"", value->u.string.text); break;
	case PV_TOML_DATETIME: pv_bytes_printf(out, "@%s", value->u.string.text); break;
	case PV_TOML_INTEGER: pv_bytes_printf(out, "%" PRId64, value->u.integer); break;
	case PV_TOML_FLOAT: pv_bytes_printf(out, "%gf", value->u.number); break;
	case PV_TOML_BOOLEAN:
		pv_bytes_printf(out, "%s", value->u.boolean ? "true" : "false");
		break;
	case PV_TOML_ARRAY:
		pv_bytes_printf(out, "[");
		for (size_t i = 0; i < value->u.array.count; i++) {
			pv_bytes_printf(out, "%s", i ? "," : "");
			show(value->u.array.items[i], out);
		}
		pv_bytes_printf(out, "]");
		break;
	case PV_TOML_TABLE:
		pv_bytes_printf(out, "{");
		for (size_t i = 0; i < value->u.table.count; i++) {
			pv_bytes_printf(out, "%s%s:", i ? "," : "", value->u.table.members[i].key);
			show(value->u.table.members[i].value, out);
		}
		pv_bytes_printf(out, "}");
		break;
	}
}

/* Parses from an exact copy, so that a sanitizer sees a read behind the end. */
static int parse(struct pv_toml_value **out, const char *text, size_t len, struct pv_err *err)
{
	char *copy = malloc(len ? len : 1);
	memcpy(copy, text, len);
	int status = pv_toml_parse(out, copy, len, err);
	free(copy);
	return status;
}

static void good_documents_have_the_values_of_the_specification(void **state)
{
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct pv_err err = PV_ERR_INIT;
		struct pv_toml_value *root = NULL;
		struct pv_bytes text = {0};
		if (parse(&root, good[i].document, strlen(good[i].document), &err))
			fail_msg("`%s` is refused: %s", good[i].document, err.text);
		show(root, &text);
		assert_string_equal(pv_bytes_text(&text), good[i].values);
		pv_bytes_finish(&text);
		pv_toml_destroy(root);
	}
}

static void bad_documents_are_refused_with_line_and_column(void **state)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct pv_err err = PV_ERR_INIT;
		struct pv_toml_value *root = NULL;
		if (!parse(&root, bad[i].document, strlen(bad[i].document), &err))
			fail_msg("`%s` is accepted", bad[i].document);
		assert_null(root);
		assert_int_equal(err.kind, PV_ERR_INPUT);
		assert_int_equal(err.code, EINVAL);
		assert_string_equal(err.text, bad[i].message);
	}
}

static void every_cut_of_a_good_document_ends_without_harm(void **state)
{
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		for (size_t len = 0; len < strlen(good[i].document); len++) {
			struct pv_err err = PV_ERR_INIT;
			struct pv_toml_value *root = NULL;
			int status = parse(&root, good[i].document, len, &err);
			assert_true(status == 0 || (status == -EINVAL && !root));
			pv_toml_destroy(root);
		}
	}
}

static void a_nul_byte_is_no_white_space(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_toml_value *root = NULL;
	assert_int_equal(parse(&root, "a = 1\0\n", 7, &err), -EINVAL);
	assert_string_equal(err.text, "line 1, column 6: expected the end of the line");
}

/* `prefix` and `suffix` around `count` times `middle`. */
static int parse_repeated(
    const char *prefix, const char *middle, size_t count, const char *suffix, struct pv_err *err)
{
	struct pv_bytes text = {0};
	struct pv_toml_value *root = NULL;
	pv_bytes_printf(&text, "%s", prefix);
	for (size_t i = 0; i < count; i++)
		pv_bytes_printf(&text, "%s", middle);
	pv_bytes_printf(&text, "%s", suffix);
	int status = parse(&root, (const char *)text.data, text.len, err);
	pv_toml_destroy(root);
	pv_bytes_finish(&text);
	return status;
}

static void depth_is_limited(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(parse_repeated("a = ", "[", 100000, "", &err), -EINVAL);
	assert_non_null(strstr(err.text, "nested deeper than 64"));
	assert_int_equal(parse_repeated("a = ", "{a=", 100000, "", &err), -EINVAL);
	assert_non_null(strstr(err.text, "nested deeper than 64"));
	assert_int_equal(parse_repeated("a", ".a", 64, " = 1", &err), 0);
	assert_int_equal(parse_repeated("a", ".a", 65, " = 1", &err), -EINVAL);
	assert_int_equal(parse_repeated("[a", ".a", 65, "]", &err), -EINVAL);
}

static void size_and_keys_are_limited(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes text = {0};
	struct pv_toml_value *root = NULL;
	char *lines = malloc(PV_TOML_SIZE_MAX + 1);
	memset(lines, '\n', PV_TOML_SIZE_MAX + 1);
	assert_int_equal(parse(&root, lines, PV_TOML_SIZE_MAX, &err), 0);
	pv_toml_destroy(root);
	assert_int_equal(parse(&root, lines, PV_TOML_SIZE_MAX + 1, &err), -EFBIG);
	free(lines);
	for (unsigned i = 0; i <= PV_TOML_MEMBERS_MAX; i++)
		pv_bytes_printf(&text, "k%u = 1\n", i);
	assert_int_equal(parse(&root, (const char *)text.data, text.len, &err), -EINVAL);
	assert_non_null(strstr(err.text, "a table of more than 8192 keys"));
	pv_bytes_finish(&text);
}

static void values_know_their_line(void **state)
{
	static const char text[] = "a = 1\n\n[t]\nb = [\n 1,\n 2]\n";
	struct pv_err err = PV_ERR_INIT;
	struct pv_toml_value *root = NULL;
	assert_int_equal(parse(&root, text, sizeof(text) - 1, &err), 0);
	assert_int_equal(pv_toml_get(root, "a")->line, 1);
	assert_int_equal(pv_toml_get(root, "t")->line, 3);
	const struct pv_toml_value *array = pv_toml_get(pv_toml_get(root, "t"), "b");
	assert_int_equal(array->line, 4);
	assert_int_equal(array->u.array.items[1]->line, 6);
	pv_toml_destroy(root);
}

static void looking_up_what_is_not_there_is_null(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_toml_value *root = NULL;
	assert_int_equal(parse(&root, "a = 1", 5, &err), 0);
	assert_null(pv_toml_get(root, "b"));
	assert_null(pv_toml_get(pv_toml_get(root, "a"), "b"));
	assert_null(pv_toml_get(NULL, "a"));
	pv_toml_destroy(root);
	pv_toml_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(good_documents_have_the_values_of_the_specification),
	    cmocka_unit_test(bad_documents_are_refused_with_line_and_column),
	    cmocka_unit_test(every_cut_of_a_good_document_ends_without_harm),
	    cmocka_unit_test(a_nul_byte_is_no_white_space),
	    cmocka_unit_test(depth_is_limited),
	    cmocka_unit_test(size_and_keys_are_limited),
	    cmocka_unit_test(values_know_their_line),
	    cmocka_unit_test(looking_up_what_is_not_there_is_null),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
