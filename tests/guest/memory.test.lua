-- Memory of the agent and of workers that is no ordinary memory: what a driver has mapped, what is not there, what may not be read.
local sys = provium.sys
local vm = provium:vm("v", "linux", {memory = "256M"}):boot()
local worker = vm:spawn_worker()

local function maps_of(who)
	local pid = who:syscall("getpid").ret
	local text, found = vm:read_file("/proc/" .. pid .. "/maps"), {}
	for from, to, perms, name in text:gmatch("(%x+)%-(%x+) (%S+) %S+ %S+ %S+ *([^\n]*)\n") do
		found[#found + 1] = {from = tonumber(from, 16), to = tonumber(to, 16), perms = perms, name = name}
	end
	return found
end

local function map_of(who, name)
	for _, map in ipairs(maps_of(who)) do
		if map.name == name then return map end
	end
	error("no mapping is called " .. name)
end

-- Where nothing else is put, so that it stays free after munmap.
local FAR = 1 << 44
local function mmap(t, who, len, prot, flags, fd, offset)
	local r = who:syscall("mmap", FAR, len, prot, flags, fd, offset)
	t:assert_eq(r.errno, 0, "mmap")
	t:assert_eq(r.ret, FAR)
	return r.ret
end

for _, entry in ipairs({{"the VM", vm}, {"a worker", worker}}) do
	local name, who = table.unpack(entry)

	local function fails(t, address, len, what)
		local got, code = who:read_mem(address, len)
		t:assert_eq(got, nil, what)
		t:assert_eq(code, sys.EFAULT, what)
		local wrote, write_code = who:write_mem(address, ("x"):rep(len))
		t:assert_eq(wrote, nil, what)
		t:assert_eq(write_code, sys.EFAULT, what)
	end

	test("pages that the kernel has mapped without a struct page are read, in " .. name, function(t)
		-- The kernel's data for the vDSO is such a mapping in every process.
		local vvar = map_of(who, "[vvar]")
		local page = who:read_mem(vvar.from, 4096)
		t:assert_eq(#page, 4096)
		t:assert(page:find("[^\0]"), "it is all zeros")
		t:assert_eq(#who:read_mem(vvar.from + 4000, 96), 96)
		local wrote, code = who:write_mem(vvar.from, "x")
		t:assert_eq(wrote, nil)
		t:assert_eq(code, sys.EFAULT)
		t:assert_eq(who:read_mem(map_of(who, "[vdso]").from, 4), "\127ELF")
	end)

	test("memory of a device is read, in " .. name, function(t)
		-- The firmware's tables, in the memory of the machine below 1 MiB.
		local fd = who:syscall("openat", {args = {-100, 0, sys.O_RDONLY}, bufs = {"/dev/mem\0"}, ptrs = {1}}).ret
		t:assert(fd > 2, "/dev/mem cannot be opened")
		local at = mmap(t, who, 0x20000, sys.PROT_READ, sys.MAP_SHARED, fd, 0xe0000)
		t:assert_eq(who:read_mem(at, 8), "RSD PTR ")
		local all = who:read_mem(at, 0x20000)
		t:assert_eq(#all, 0x20000)
		local fadt = vm:read_file("/sys/firmware/acpi/tables/FACP")
		t:assert(all:find(fadt, 1, true), "the FADT is not where it must be")
		t:assert_eq(who:read_mem(at + 3, 10), all:sub(4, 13))
		local wrote, code = who:write_mem(at, "x")
		t:assert_eq(wrote, nil)
		t:assert_eq(code, sys.EFAULT)
		who:syscall("munmap", at, 0x20000)
		who:syscall("close", fd)
		fails(t, at, 8, "after munmap")
	end)

	test("what is not there is an error number, in " .. name, function(t)
		local anonymous, private = sys.MAP_PRIVATE | sys.MAP_ANONYMOUS, sys.PROT_READ | sys.PROT_WRITE
		local at = mmap(t, who, 3 * 4096, private, anonymous, -1, 0)
		t:assert_eq(who:syscall("mprotect", at + 4096, 4096, sys.PROT_NONE).errno, 0)
		fails(t, at + 4096, 1, "PROT_NONE")
		fails(t, at + 4090, 20, "from a page that is there into one that may not be read")
		fails(t, at, 3 * 4096, "a hole in the middle")
		-- As with read(2), what lies before the fault may have been done.
		t:assert_eq(who:read_mem(at + 2 * 4096, 6), ("\0"):rep(6))
		t:assert_eq(who:syscall("munmap", at, 3 * 4096).errno, 0)
		fails(t, at, 1, "unmapped")
		fails(t, 0, 1, "NULL")
		fails(t, 8, 4096, "almost NULL")
		fails(t, 1 << 62, 8, "no canonical address")
		fails(t, -4096, 8, "an address of the kernel")
		fails(t, -1, 16, "around the end of all addresses")
		fails(t, math.mininteger, 8, "the middle of all addresses")
		-- A file that is shorter than its mapping: touching that is SIGBUS.
		vm:write_file("/tmp/short", "short")
		local fd = who:syscall("openat", {args = {-100, 0, sys.O_RDWR}, bufs = {"/tmp/short\0"}, ptrs = {1}}).ret
		at = mmap(t, who, 2 * 4096, private, sys.MAP_SHARED, fd, 0)
		t:assert_eq(who:read_mem(at, 5), "short")
		fails(t, at + 4096, 1, "behind the end of the file")
		who:syscall("munmap", at, 2 * 4096)
		who:syscall("close", fd)
		t:assert_eq(who:read_mem(at, 0), "")
		t:assert_eq(who:syscall("getpid").errno, 0)
	end)
end
