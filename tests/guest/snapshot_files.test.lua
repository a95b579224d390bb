-- Snapshot files (spec 7.8, 19): paths, sizes, deletion, and files that are none.
local function fails(t, pattern, call, ...)
	local ok, err = pcall(call, ...)
	t:assert(not ok, "expected an error with `" .. pattern .. "`")
	t:assert_contains(tostring(err), pattern)
end

local function host(command)
	local pipe = assert(io.popen(command))
	local out = pipe:read("a")
	pipe:close()
	return out
end

local function new(name)
	return provium:vm(name or "r", "linux")
end

local vm = provium:vm("v", "linux", {memory = "160M"}):boot()
vm:run("mkdir -p /t && mount -t tmpfs none /t"):assert_ok()
vm:write_file("/t/value", "kept")

test("a snapshot in a file", function(t)
	local path = os.tmpname()
	local s = vm:snapshot(path)
	t:assert_eq(s:path(), path)
	t:assert_eq(s:size(), tonumber(host("stat -c %s " .. path)))
	t:assert_eq(new("a"):restore(s):read_file("/t/value"), "kept")
	local b = new("b"):restore(path)
	t:assert_eq(b:read_file("/t/value"), "kept")
	s:delete()
	s:delete()
	t:assert_eq(s:size(), 0)
	t:assert_eq(io.open(path), nil)
	-- Its guest does not mind.
	t:assert_contains(b:run("cat /bin/busybox /proc/version | tail -n 1").stdout, "Linux version")
	fails(t, "it was deleted", new("c").restore, new("d"), s)
	fails(t, "snapshot `/nowhere/x`: cannot be written: No such file or directory", vm.snapshot, vm, "/nowhere/x")
	vm:run("true"):assert_ok()
end)

test("a snapshot without a path has a temporary one that leaves nothing behind", function(t)
	local list = "ls -A ${TMPDIR:-/tmp}"
	local there = host(list)
	local s = vm:snapshot()
	t:assert(s:size() > 160 * 1024 * 1024, "size " .. s:size())
	t:assert_eq(new():restore(s:path()):read_file("/t/value"), "kept")
	t:assert_eq(host(list), there)
	s:delete()
	t:assert_eq(s:size(), 0)
end)

test("missing and damaged files are refused and change nothing", function(t)
	local r = new()
	fails(t, "vm `r`: cannot restore: snapshot `/nowhere`: cannot be opened: No such file or directory", r.restore, r, "/nowhere")
	fails(t, "not a regular file", r.restore, r, "/")
	local path = os.tmpname()
	local good = vm:snapshot(path)
	local size = good:size()
	local bad = path .. ".bad"
	local function damage(command, sentence)
		host("cp --sparse=always " .. path .. " " .. bad .. " && chmod 600 " .. bad .. " && " .. command)
		fails(t, "snapshot `" .. bad .. "`: " .. sentence, r.restore, r, bad)
		t:assert_eq(r:state(), "created")
		os.remove(bad)
	end
	damage("echo hello > " .. bad, "this is no snapshot of a machine")
	damage("truncate -s 4095 " .. bad, "it is cut short within its header; make it anew")
	damage("truncate -s " .. size - 1 .. " " .. bad, "it is cut short, " .. size - 1 .. " bytes are there of " .. size)
	damage("printf x | dd of=" .. bad .. " bs=1 seek=20 conv=notrunc 2>/dev/null", "its header is damaged; make it anew")
	damage("printf '\\377\\376\\375' | dd of=" .. bad .. " bs=1 seek=" .. size - 50 .. " conv=notrunc 2>/dev/null",
		"its state is damaged; make it anew")
	t:assert_eq(r:restore(path):read_file("/t/value"), "kept")
	good:delete()
end)

test("a restored and a forked guest can reboot", function(t)
	local fork = vm:fork(1)[1]
	local snapshot = fork:snapshot()
	fork:reset()
	t:assert_eq(fork:run("cat /t/value").exit_code, 1)
	fork:shutdown()
	t:assert_eq(fork:restore(snapshot):read_file("/t/value"), "kept")
	fork:reset()
	t:assert_eq(fork:run("cat /t/value").exit_code, 1)
end)
